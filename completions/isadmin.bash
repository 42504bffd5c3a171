# bash completion for isadmin. Made by `python -m isadmin.docs` from isadmin's own tables; not to be edited.

_isadmin() {
    local rest=${COMP_LINE:0:COMP_POINT} word blanks i cur value count
    local -a words=()
    COMPREPLY=()

    # bash parts words at = and : too: put together again what no blank parts.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blanks=${rest%%[![:blank:]]*}
        rest=${rest#"$blanks"}
        word=${COMP_WORDS[i]}
        ((i < COMP_CWORD)) || word=$rest
        rest=${rest#"$word"}
        if [[ $i == 0 || -n $blanks ]]; then
            words+=("$word")
        else
            words[-1]+=$word
        fi
    done
    count=${#words[@]}
    cur=${words[count - 1]}

    # Options stand before the first word that is none.
    for ((i = 1; i < count - 1; i++)); do
        case ${words[i]} in
        -f | --file | -c | --commands | --configfs | --output) ((i++)) ;;
        --) ((i++)) && break ;;
        -?*) ;;
        *) break ;;
        esac
    done
    if ((i >= count)); then
        _isadmin_value "${words[count - 2]}" "$cur"
    elif ((i == count - 1)) && [[ $cur == --*=* ]]; then
        value=${cur#*=}
        _isadmin_value "${cur%%=*}" "$value"
    elif ((i == count - 1)) && [[ $cur == -* ]]; then
        _isadmin_words "$cur" -h --help -v --version -f --file -c --commands --keep-going --atomic --dry-run -u --userspace --configfs --show-secrets --ask -y --yes --output --debug
    elif ((i < count - 1)) && [[ ${words[i]} == userspace ]]; then
        _isadmin_userspace "$cur" "${words[@]:i + 1}"
    else
        mapfile -t COMPREPLY < <("$1" --complete bash "$COMP_WORDBREAKS" "${words[@]:1}" 2>/dev/null)
        if ((i == count - 1)) && [[ -n $cur && userspace == "$cur"* ]]; then
            COMPREPLY+=("userspace ")
        fi
    fi
}

_isadmin_words() {
    compopt +o nospace
    mapfile -t COMPREPLY < <(compgen -W "${*:2}" -- "$1")
}

_isadmin_value() {
    case $1 in
    -f | --file)
        compopt -o filenames +o nospace
        mapfile -t COMPREPLY < <(compgen -f -- "$2")
        ;;
    -c | --commands)
        COMPREPLY=()
        ;;
    --configfs)
        compopt -o filenames +o nospace
        mapfile -t COMPREPLY < <(compgen -d -- "$2")
        ;;
    --output)
        _isadmin_words "$2" text json
        ;;
    esac
}

_isadmin_userspace() {
    local cur=$1
    shift
    if (($# == 1)); then
        _isadmin_words "$cur" start stop status exec
        return
    fi
    case $1 in
    start)
        _isadmin_words "$cur" -h --help --empty --foreground
        ;;
    stop)
        _isadmin_words "$cur" -h --help
        ;;
    status)
        case ${*: -2:1} in
        --output) _isadmin_words "$cur" text json ;;
        *) _isadmin_words "$cur" -h --help --output ;;
        esac
        ;;
    exec)
        compopt +o nospace
        mapfile -t COMPREPLY < <(compgen -c -- "$cur")
        ;;
    esac
}

complete -o nospace -F _isadmin isadmin
