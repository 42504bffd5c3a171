"""The completion scripts of bash, zsh and fish. Options are in them; what depends on what is configured they
ask `isadmin --complete` for (isadmin/shell/complete.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from isadmin.cli import OPTIONS, Option
from isadmin.docs import tables

MADE = "Made by `python -m isadmin.docs` from isadmin's own tables; not to be edited."


def _values(option: Option) -> list[str]:
    """The words that an option's value can be, [] where any will do."""
    return option.value.split("|") if option.value and "|" in option.value else []


def _names(options: Iterable[Option]) -> list[str]:
    return [name for option in options for name in option.names]


# bash

_BASH = """\
# bash completion for isadmin. {made}

_isadmin() {{
    local rest=${{COMP_LINE:0:COMP_POINT}} word blanks i cur value count
    local -a words=()
    COMPREPLY=()

    # bash parts words at = and : too: put together again what no blank parts.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blanks=${{rest%%[![:blank:]]*}}
        rest=${{rest#"$blanks"}}
        word=${{COMP_WORDS[i]}}
        ((i < COMP_CWORD)) || word=$rest
        rest=${{rest#"$word"}}
        if [[ $i == 0 || -n $blanks ]]; then
            words+=("$word")
        else
            words[-1]+=$word
        fi
    done
    count=${{#words[@]}}
    cur=${{words[count - 1]}}

    # Options stand before the first word that is none.
    for ((i = 1; i < count - 1; i++)); do
        case ${{words[i]}} in
        {valued}) ((i++)) ;;
        --) ((i++)) && break ;;
        -?*) ;;
        *) break ;;
        esac
    done
    if ((i >= count)); then
        _isadmin_value "${{words[count - 2]}}" "$cur"
    elif ((i == count - 1)) && [[ $cur == --*=* ]]; then
        value=${{cur#*=}}
        _isadmin_value "${{cur%%=*}}" "$value"
    elif ((i == count - 1)) && [[ $cur == -* ]]; then
        _isadmin_words "$cur" {options}
    elif ((i < count - 1)) && [[ ${{words[i]}} == userspace ]]; then
        _isadmin_userspace "$cur" "${{words[@]:i + 1}}"
    else
        mapfile -t COMPREPLY < <("$1" --complete bash "$COMP_WORDBREAKS" "${{words[@]:1}}" 2>/dev/null)
        if ((i == count - 1)) && [[ -n $cur && userspace == "$cur"* ]]; then
            COMPREPLY+=("userspace ")
        fi
    fi
}}

_isadmin_words() {{
    compopt +o nospace
    mapfile -t COMPREPLY < <(compgen -W "${{*:2}}" -- "$1")
}}

_isadmin_value() {{
    case $1 in
{values}
    esac
}}

_isadmin_userspace() {{
    local cur=$1
    shift
    if (($# == 1)); then
        _isadmin_words "$cur" {actions}
        return
    fi
    case $1 in
{action_options}
    exec)
        compopt +o nospace
        mapfile -t COMPREPLY < <(compgen -c -- "$cur")
        ;;
    esac
}}

complete -o nospace -F _isadmin isadmin
"""


def bash() -> str:
    """completions/isadmin.bash."""
    values = []
    for option in OPTIONS:
        if option.value is None:
            continue
        values.append(f"    {' | '.join(option.names)})")
        if words := _values(option):
            values.append(f'        _isadmin_words "$2" {" ".join(words)}')
        elif option.value in ("FILE", "DIR"):
            kind = "-d" if option.value == "DIR" else "-f"
            values.append("        compopt -o filenames +o nospace")
            values.append(f'        mapfile -t COMPREPLY < <(compgen {kind} -- "$2")')
        else:
            values.append("        COMPREPLY=()")
        values.append("        ;;")
    actions = tables.userspace_actions()
    lines: list[str] = []
    for action in actions:
        if action.name == "exec":
            continue
        chosen = [word for option in action.options for word in _values(option)]
        lines.append(f"    {action.name})")
        names = " ".join(_names(action.options))
        if chosen:
            before = " | ".join(_names(option for option in action.options if _values(option)))
            lines.append("        case ${*: -2:1} in")
            lines.append(f'        {before}) _isadmin_words "$cur" {" ".join(chosen)} ;;')
            lines.append(f'        *) _isadmin_words "$cur" {names} ;;')
            lines.append("        esac")
        else:
            lines.append(f'        _isadmin_words "$cur" {names}')
        lines.append("        ;;")
    return _BASH.format(
        made=MADE,
        valued=" | ".join(_names(option for option in OPTIONS if option.value)),
        options=" ".join(_names(OPTIONS)),
        values="\n".join(values),
        actions=" ".join(action.name for action in actions),
        action_options="\n".join(lines),
    )


# zsh

_ZSH = """\
#compdef isadmin
# zsh completion for isadmin. {made}

_isadmin() {{
    local curcontext=$curcontext state line command=${{(Q)words[1]}}
    local -a given=("${{(@Q)words[2,CURRENT-1]}}")
    local -A opt_args

    _arguments -C -s -S -A '-*' \\
{options}
        '*:: :->words'
    local found=$?
    [[ $state == words ]] || return found

    if [[ $words[1] == userspace ]] && ((CURRENT > 1)); then
        _isadmin_userspace
        return
    fi
    local one text
    local -a whole whole_shown open open_shown
    for one in "${{(@f)$("$command" --complete zsh "${{given[@]}}" "${{(Q)PREFIX}}" 2>/dev/null)}}"; do
        text=${{one%%$'\\t'*}}
        one=${{one#*$'\\t'}}
        one=$text${{one:+  -- $one}}
        case $text in
        ('') ;;
        (*[/=]) open+=("$text") open_shown+=("$one") ;;
        (*) whole+=("$text") whole_shown+=("$one") ;;
        esac
    done
    if ((CURRENT == 1)); then
        whole+=(userspace) whole_shown+=('userspace  -- {userspace}')
    fi
    found=1
    compadd -l -d whole_shown -a whole && found=0
    compadd -l -d open_shown -S '' -a open && found=0
    return found
}}

_isadmin_userspace() {{
    local -a actions=(
{actions}
    )
    if ((CURRENT == 2)); then
        _describe -t actions action actions
        return
    fi
    shift words
    ((CURRENT--))
    case $words[1] in
{action_options}
    (exec)
        shift words
        ((CURRENT--))
        if [[ $words[1] == -- ]] && ((CURRENT > 1)); then
            shift words
            ((CURRENT--))
        fi
        _normal
        ;;
    esac
}}

_isadmin "$@"
"""
USERSPACE = "start, stop, look at and use the userspace target"


def _zsh_text(text: str) -> str:
    """A text within '...' in a spec of _arguments or _describe."""
    return re.sub(r"[\\\[\]:]", r"\\\g<0>", text).replace("'", "'\\''")


def _zsh_options(options: Iterable[Option], margin: str) -> str:
    lines = []
    for option in options:
        value = ""
        if option.value is not None:
            how = {"FILE": "_files", "DIR": "_files -/"}.get(option.value, " ")
            words = _values(option)
            listed = f"({' '.join(words)})" if words else how
            value = f":{option.value}:{listed}"
        meaning = f"[{_zsh_text(option.meaning)}]{value}"
        for name in option.names:
            tail = "" if option.value is None else "=" if name.startswith("--") else "+"
            others = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
            lines.append(f"{margin}'{others}{name}{tail}{meaning}' \\")
    return "\n".join(lines)


def zsh() -> str:
    """completions/_isadmin."""
    actions = tables.userspace_actions()
    lines = []
    for action in actions:
        if action.name != "exec":
            lines += [f"    ({action.name})", "        _arguments -S \\"]
            lines += [_zsh_options(action.options, " " * 12).removesuffix(" \\"), "        ;;"]
    return _ZSH.format(
        made=MADE,
        options=_zsh_options(OPTIONS, " " * 8),
        userspace=USERSPACE,
        actions="\n".join(f"        '{action.name}:{_zsh_text(action.meaning)}'" for action in actions),
        action_options="\n".join(lines),
    )


# fish

_FISH = """\
# fish completion for isadmin. {made}

function __isadmin_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l plain (string unescape -- "$last")
    or set plain "$last"
    $words[1] --complete fish $words[2..] "$plain" 2>/dev/null
end

function __isadmin_in_userspace
    contains -- userspace (commandline -opc)
end

function __isadmin_action
    set -l words (commandline -opc)
    set -l at (contains -i -- userspace $words)
    or return 1
    if test (count $argv) -eq 0
        test (count $words) -eq $at
    else
        test "$words[$(math $at + 1)]" = "$argv[1]"
    end
end

complete -c isadmin -f
complete -c isadmin -n 'not __isadmin_in_userspace' -k -a '(__isadmin_complete)'
{lines}
"""


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _fish_option(option: Option, condition: str) -> str:
    names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
    value = ""
    if option.value is not None:
        words = _values(option)
        value = {"FILE": " -r -F", "DIR": " -x -a '(__fish_complete_directories)'"}.get(option.value, " -x")
        if words:
            value = f" -x -a {_fish_text(' '.join(words))}"
    return f"complete -c isadmin -n {condition} {names}{value} -d {_fish_text(option.meaning)}"


def fish() -> str:
    """completions/isadmin.fish."""
    lines = [_fish_option(option, "'not __isadmin_in_userspace'") for option in OPTIONS]
    first = "'test (count (commandline -opc)) -eq 1'"
    lines.append(f"complete -c isadmin -n {first} -a userspace -d {_fish_text(USERSPACE)}")
    for action in tables.userspace_actions():
        lines.append(
            f"complete -c isadmin -n __isadmin_action -a {action.name} -d {_fish_text(action.meaning)}"
        )
        condition = f"'__isadmin_action {action.name}'"
        if action.name == "exec":
            lines.append(f"complete -c isadmin -n {condition} -a '(__fish_complete_subcommand --fcs-skip=3)'")
        else:
            lines += [_fish_option(option, condition) for option in action.options]
    return _FISH.format(made=MADE, lines="\n".join(lines))
