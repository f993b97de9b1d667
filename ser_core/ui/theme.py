"""How the app looks and what it says: colours, css, words that several tabs use."""

import html

import gradio as gr

from ser_core.figures.recognition import ANSWER_COLOURS, EMOTION_COLOURS
from ser_core.inference.prompts import HINTS, PROMPTS
from ser_core.labels import APP_EMOTIONS

THEME = gr.themes.Ocean(
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
    text_size=gr.themes.sizes.text_md,
)

EMOTIONS = APP_EMOTIONS
"""In the order they are shown, everywhere."""

PERSONALISERS = {
    "speaker_reference": "Speaker reference",
    "enrolment_attention": "Attention, all recordings",
    "enrolment_attention_neutral": "Attention, neutral only",
    "enrolment_attention_emotional": "Attention, emotional only",
    "cfa": "Combined Fairness Adaptation (CFA)",
    "cfa_adversary": "CFA, adversary alone",
    "cfa_similarity": "CFA, similarity alone",
    "cfa_neither": "CFA without its two terms",
    "cfa_erased": "CFA, gender erased as well",
    "target_statistics": "Target statistics alone",
    "source_reweighted": "Source, re-weighted",
    "source_parity": "Source, gender parity",
    "source_speaker_parity": "Source, speaker parity",
}
"""What methods are called; one that is not listed goes by its own name."""

HEADER = """
<header class="masthead">
  <h1>Attune</h1>
  <p>Hears how something is said, and first learns how <em>you</em> say it.</p>
</header>
"""


def emotion_name(emotion: str) -> str:
    """As a heading."""
    return emotion.capitalize()


def prompt(emotion: str) -> tuple[str, str]:
    """The sentence to say, and how."""
    return PROMPTS[emotion], HINTS[emotion]


def personaliser_name(name: str) -> str:
    """In words."""
    return PERSONALISERS.get(name, name.replace("_", " ").capitalize())


def method_name(name: str) -> str:
    """A method in words; of several models ('MODEL: METHOD') with the model's name before it."""
    model, colon, method = name.rpartition(": ")
    words = "Baseline" if method == "baseline" else personaliser_name(method)
    return f"{model}: {words}" if colon else words


def safe(text: str) -> str:
    """What a person or a file brought, for HTML."""
    return html.escape(str(text))


_COLOURS = "\n".join(f"  --{name}: {colour};" for name, colour in {**EMOTION_COLOURS, **ANSWER_COLOURS}.items())

PLUMBING = {"visible": "hidden", "elem_classes": "plumbing"}
"""Of a component that only scripts use. gradio hands a column's update on to all in it, so "hidden" does not last; the class does."""

CSS = (
    ":root {\n"
    + _COLOURS
    + """
  --good-ink: #065f46; --good-paper: #d1fae5;
  --poor-ink: #8a2c0d; --poor-paper: #ffe4d6;
  --soft-ink: #4b5563; --soft-paper: #eef0f3; --line: #dfe3e8;
}
.dark {
  --good-ink: #a7f3d0; --good-paper: #064e3b;
  --poor-ink: #ffd3bd; --poor-paper: #6b2a12;
  --soft-ink: #c3cad5; --soft-paper: #2b3443; --line: #3c414b;
}
.gradio-container { width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }
.gradio-container .html-container { padding: 0 !important; }
.audio-container .icon-button-wrapper:has(~ .component-wrapper .record-button) { display: none; }
.component-wrapper { --neutral-400: var(--soft-ink); }
.gradio-container { --input-placeholder-color: var(--soft-ink); }
.gradio-container input::placeholder { color: var(--soft-ink) !important; opacity: 1; }
.gradio-container button[role=tab].selected { color: var(--good-ink) !important; }
.gradio-container input.subdued, .gradio-container .min_value, .gradio-container .max_value { color: var(--soft-ink) !important; }
#enrol-consent input { border-color: var(--soft-ink) !important; border-radius: 4px !important; }
button[aria-label="Upload file"], button[aria-label="Record audio"] { width: auto !important; display: inline-flex;
  align-items: center; gap: .35rem; white-space: nowrap; color: var(--soft-ink) !important; font-size: .88rem; padding: 0 .5rem; }
button[aria-label="Upload file"]::after { content: "Choose a file"; }
button[aria-label="Record audio"]::after { content: "Record"; }
button[aria-label="Upload file"].selected, button[aria-label="Record audio"].selected { color: var(--good-ink) !important; }
#enrol-erase-confirm { background: #b42318; color: #fff; }
.signed-in { color: var(--soft-ink); text-align: right; }
.signed-in button { text-decoration: underline; background: none; color: inherit; cursor: pointer; padding: .3rem; }
.masthead { padding: 1.2rem 0 .2rem; }
.masthead h1 { font-size: 2rem; font-weight: 700; letter-spacing: -.02em; margin: 0; }
.masthead p { color: var(--soft-ink); font-size: 1.05rem; margin: .15rem 0 0; }
.step { margin-top: .9rem; }
.step h2 { font-size: 1.2rem; font-weight: 650; margin: 0 !important; }
.step p { color: var(--soft-ink); margin: .1rem 0 0 !important; }

.notice { border-left: 4px solid var(--baseline); padding: .1rem 0 .1rem 1rem; margin-top: .6rem; line-height: 1.55; }
.notice ul { margin: .3rem 0; padding-left: 1.1rem; list-style: disc; }

.progress { display: flex; align-items: center; gap: 1rem; flex-wrap: wrap; }
.progress strong { font-size: 1.15rem; }
.progress .dots { display: flex; gap: .35rem; }
.progress .dots i { width: 1.5rem; height: .5rem; border-radius: 1rem; background: var(--soft-paper); }
.progress .dots i.done { background: var(--good-ink); }

.cards { display: grid !important; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1rem; }
@media (max-width: 1020px) {
  .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media (max-width: 700px) { .cards { grid-template-columns: minmax(0, 1fr); } }
.cards > .card { min-width: 0 !important; padding: 1rem !important; gap: .6rem; border-radius: 14px;
  border: 1px solid var(--line); background: var(--block-background-fill); }
.card h3 { display: flex; align-items: center; gap: .5rem; font-size: 1.05rem; font-weight: 650; margin: 0 0 .4rem; }
.card h3 i { width: .8rem; height: .8rem; border-radius: 50%; }
.card .words { min-height: 7.5rem; }
.card .words blockquote { margin: 0 0 .35rem !important; padding: 0; border: 0; font-size: 1.02rem; line-height: 1.4; color: inherit; }
.card .words p.hint { color: var(--soft-ink); font-size: .92rem; margin: 0 !important; }
.card ul { list-style: disc; padding-left: 1.1rem; line-height: 1.5; }
.card .actions { gap: .5rem; }
#enrol-talk > button > span:first-child { font-size: 1.05rem; font-weight: 650; }
#enrol-talk-audio ::part(scroll) { overflow-x: hidden !important; }  /* it follows the player; no key could scroll it */
#enrol-talk .actions button { white-space: nowrap; min-width: max-content !important; }
.whose { align-items: flex-end; }
.whose button, .question button { white-space: nowrap; min-width: max-content !important; }

.pill { display: inline-block; padding: .16rem .7rem; border-radius: 1rem; font-size: .88rem; font-weight: 600;
  line-height: 1.4; margin: 0 !important;
  color: var(--soft-ink); background: var(--soft-paper); }
.pill.good { color: var(--good-ink); background: var(--good-paper); }
.pill.poor { color: var(--poor-ink); background: var(--poor-paper); border-radius: .6rem; }
.advice { margin: .35rem 0 0; font-size: .92rem; line-height: 1.45; }

.answer { container-type: inline-size; position: relative; overflow: hidden; border: 1px solid var(--line) !important; border-radius: 12px;
  padding: 1rem 1.1rem .9rem; min-height: 8.2rem; background: var(--block-background-fill); }
.answer::before { content: ""; position: absolute; inset: 0 0 auto 0; height: 6px; background: var(--baseline); }
.answer.personalised::before {
  background: repeating-linear-gradient(135deg, var(--personalised) 0 5px, #fff0 5px 8px); }
.answer.calibrated::before {
  background: repeating-linear-gradient(90deg, var(--calibrated) 0 5px, #fff0 5px 8px); }
.answer .who { color: var(--soft-ink); font-size: .92rem; margin: 0; }
.answer .word { font-size: min(2.1rem, 14.5cqi); font-weight: 700; letter-spacing: -.02em; line-height: 1.2; margin: .1rem 0; }
.answer .sure { margin: 0; }
.answer .quiet { color: var(--soft-ink); font-size: 1.02rem; margin: .4rem 0 0; line-height: 1.45; }

.explained p { margin: .2rem 0; line-height: 1.5; }
.explained h3 { font-size: 1.05rem; font-weight: 650; margin: .4rem 0 .1rem; }
.status { color: var(--soft-ink); font-size: .92rem; line-height: 1.55; }
.status p { margin: .15rem 0; color: var(--soft-ink); }
.status .problem, .status .warning { color: var(--poor-ink) !important; background: var(--poor-paper); border-radius: .6rem;
  padding: .45rem .8rem; font-size: 1rem; }
.figure .modebar-container { display: none !important; }  /* there are buttons with words below */
.gradio-container .secondary-wrap input { padding-right: 1.8rem; text-overflow: ellipsis; }
.figure { background: #fff !important; border: 1px solid var(--line) !important; border-radius: 12px !important;
  padding: .6rem !important; }

.numbers .scroll { overflow-x: auto; contain: inline-size; }  /* a wide table scrolls by itself and widens nothing */
details.numbers summary { cursor: pointer; color: var(--soft-ink); }
.numbers table { border-collapse: collapse; margin-top: .5rem; width: 100%; max-width: 44rem;
  border: 0 !important; }
.numbers tr, .numbers thead, .numbers tbody { border: 0 !important; }
.numbers th, .numbers td { text-align: right !important; padding: .3rem .7rem !important; border: 0 !important;
  border-bottom: 1px solid var(--line) !important; font-variant-numeric: tabular-nums; }
.numbers th:first-child { text-align: left !important; font-weight: 500; }
.numbers .bar { display: inline-block; width: 4.5rem; height: .55rem; border-radius: .3rem; background: var(--soft-paper);
  vertical-align: baseline; }
.numbers .bar i { display: block; height: 100%; border-radius: .3rem; background: var(--personalised); }
.numbers.effect :is(th, td) { text-align: left !important; }
.numbers.effect .bar { width: min(9rem, 13vw); }
@media (max-width: 640px) { .numbers.effect :is(th, td) { padding: .3rem .25rem !important; } }
details.tips { border: 1px dashed var(--line); border-radius: 12px; padding: .6rem 1rem; line-height: 1.5; }
details.tips summary { cursor: pointer; }
details.tips ul, .law ul { list-style: disc; padding-left: 1.2rem; margin: .4rem 0; line-height: 1.55; }
.quiet { color: var(--soft-ink); font-size: .92rem; margin: .1rem 0; line-height: 1.5; }
.actions { align-items: center; }

#microphone-help, #gone { border-radius: .8rem; padding: .7rem 1rem; margin: .5rem 0; line-height: 1.5;
  color: var(--poor-ink); background: var(--poor-paper); }
#gone { position: fixed; left: 50%; transform: translateX(-50%); bottom: 1rem; z-index: 1000; max-width: 92vw;
  box-shadow: 0 2px 14px #0003; }
#microphone-help[hidden], #gone[hidden] { display: none; }

.guided { border: 2px solid var(--baseline); border-radius: 14px; padding: 1rem 1.2rem !important; }
.guided h3 { display: flex; align-items: center; gap: .6rem; font-size: 1.5rem; font-weight: 700; margin: .2rem 0; }
.guided h3 i { width: 1rem; height: 1rem; border-radius: 50%; }
.guided blockquote { border: 0; padding: 0; margin: .2rem 0 !important; font-size: 1.35rem; line-height: 1.4; color: inherit; }
.guided .hint { color: var(--soft-ink); margin: 0 0 .4rem !important; }
#guided-step { min-height: 10rem; }
.gradio-container:has(#guided-now) #guided-start { display: none; }
.plumbing, .form:has(> .plumbing):not(:has(> :not(.plumbing))) { display: none !important; }
#guided-count { min-height: 2.6rem; font-size: 1.8rem; font-weight: 700; margin: 0; line-height: 2.6rem; }

.live-answers { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem; }
.live-answers:has(.calibrated) { grid-template-columns: repeat(3, minmax(0, 1fr)); }
@media (max-width: 640px) { .live-answers, .live-answers:has(.calibrated) { grid-template-columns: minmax(0, 1fr); gap: .6rem; } }
.level { display: flex; align-items: center; gap: .7rem; margin: .7rem 0; color: var(--soft-ink); font-size: .92rem; }
.level meter { width: 14rem; max-width: 60vw; height: 1rem; }
.timeline { display: block; width: 100%; min-width: 600px; height: auto; }
.figure.over-time { overflow-x: auto; contain: inline-size; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
/* fairness */
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 200px), 1fr)); gap: .8rem; margin: .4rem 0; }
.tile { border: 1px solid var(--line); border-radius: 12px; padding: .8rem 1rem; background: var(--block-background-fill); }
.tile h3 { font-size: 1rem; font-weight: 650; margin: 0; }
.tile .big { font-size: 1.7rem; font-weight: 700; margin: .1rem 0 .3rem; line-height: 1.2; font-variant-numeric: tabular-nums; }

.tile dl { margin: 0; font-size: .9rem; } .tile dt { color: var(--soft-ink); }
.tile dd { margin: 0 0 .25rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.plainly { font-size: 1.1rem; line-height: 1.5; margin: .5rem 0; } .plainly p { margin: .15rem 0; }
.verdict { border-left: 4px solid var(--baseline); padding: .1rem 0 .1rem .8rem; margin: .3rem 0; font-size: .92rem; line-height: 1.5; }
.verdict ul { list-style: disc; padding-left: 1.2rem; } .verdict.bad { border-color: #b42318; }
.numbers.wide table { max-width: none; } .numbers.wide :is(th, td) { white-space: nowrap; }
/* train */
.share { display: flex; align-items: center; gap: .8rem; }
.share progress { flex: 1; height: .6rem; appearance: none; border: 0; border-radius: 1rem; overflow: hidden;
  background: var(--soft-paper); }
.share progress::-webkit-progress-bar { background: var(--soft-paper); }
.share progress::-webkit-progress-value { background: var(--good-ink); }
.share progress::-moz-progress-bar { background: var(--good-ink); }
.share span { font-variant-numeric: tabular-nums; }
.log { display: flex; flex-direction: column-reverse; max-height: 22rem; overflow: auto; contain: inline-size;
  border: 1px solid var(--line); border-radius: 12px; padding: .7rem .9rem; }  /* begins at its end */
.log pre { margin: 0; font-size: .82rem; line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere; }
#train-command textarea { font-family: var(--font-mono); font-size: .85rem; }
/* about */
.numbers.in-words th, .numbers.in-words td { text-align: left !important; }
.numbers.in-words td:first-child { min-width: 8rem; }
.explained code { overflow-wrap: anywhere; }
.about-model { border: 1px solid var(--line); border-radius: 14px; padding: 1rem !important; }
.about-model h3 { font-size: 1.15rem; font-weight: 650; }
.card-text h1 { font-size: 1.3rem; } .card-text h2 { font-size: 1.1rem; } .card-text h3 { font-size: 1rem; }
.card-text .scroll { overflow-x: auto; contain: inline-size; }
.card-text :is(th, td) { border-color: var(--line) !important; padding: .3rem .6rem !important; }
.card-text th { overflow-wrap: normal; word-break: normal; }
.card-text td { white-space: nowrap; font-variant-numeric: tabular-nums; }
@media (max-width: 640px) { .card-text td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; } }

@media (max-width: 640px) { .answer .word { font-size: min(1.7rem, 17cqi); } .masthead h1 { font-size: 1.7rem; } }
"""
)
