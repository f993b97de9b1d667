"""The page on which one signs in: plain HTML, no script."""

import html

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in · Attune</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; --ink: #1f2933; --soft: #4b5563; --paper: #fff; --line: #6b7280; --bad: #8a2c0d; --do: #0b6b4f; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #eef0f3; --soft: #c3cad5; --paper: #0b0f19; --line: #9aa4b2; --bad: #ffd3bd; --do: #0b6b4f; }} }}
body {{ font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 24rem; margin: 12vh auto 2rem; padding: 0 1.2rem; }}
h1 {{ margin: 0; letter-spacing: -.02em; }} p {{ color: var(--soft); margin: .3rem 0 1rem; }}
label {{ display: block; font-weight: 600; margin-top: .9rem; }}
input {{ box-sizing: border-box; width: 100%; font: inherit; padding: .55rem .7rem; border: 1px solid var(--line); border-radius: 8px;
  color: inherit; background: transparent; }}
button {{ font: inherit; font-weight: 650; margin-top: 1.2rem; padding: .6rem 1.4rem; border: 0; border-radius: 8px; color: #fff;
  background: var(--do); cursor: pointer; }}
:focus-visible {{ outline: 3px solid #0072B2; outline-offset: 2px; }}
.bad {{ color: var(--bad); font-weight: 600; }} small {{ color: var(--soft); display: block; margin-top: 1.6rem; }}
</style></head>
<body><main><h1>Attune</h1><p>Sign in to see your profiles. Nobody else who signs in here sees them.</p>{problem}
<form method="post" action="/sign-in">
<label for="name">Name</label><input id="name" name="name" autocomplete="username" maxlength="64" required {name_focus}value="{name}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="200" required{password_focus}>
<button type="submit">Sign in</button></form>
<small>No account, or a forgotten password? Whoever runs Attune here makes them. Recordings are sent to that computer and to no
other. Inferring emotions at work or in education is prohibited in the EU.</small></main></body></html>
"""


def sign_in_page(name: str = "", problem: str = "") -> str:
    """The page; with the name that was typed and what was wrong, if anything was."""
    said = f'<p class="bad" role="alert">{html.escape(problem)}</p>' if problem else ""
    focus = ("", " autofocus") if name else ("autofocus ", "")
    name = html.escape(name[:64], quote=True)
    return _PAGE.format(problem=said, name=name, name_focus=focus[0], password_focus=focus[1])
