# fish completion for isadmin. Made by `python -m isadmin.docs` from isadmin's own tables; not to be edited.

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
complete -c isadmin -n 'not __isadmin_in_userspace' -s h -l help -d 'print this and exit; `help` is about the shell\'s commands'
complete -c isadmin -n 'not __isadmin_in_userspace' -s v -l version -d 'print the version and exit'
complete -c isadmin -n 'not __isadmin_in_userspace' -s f -l file -r -F -d 'run the commands in FILE, one a line (- for standard input)'
complete -c isadmin -n 'not __isadmin_in_userspace' -s c -l commands -x -d 'run these commands, parted by ; at a word\'s end'
complete -c isadmin -n 'not __isadmin_in_userspace' -l keep-going -d 'go on after a command of a batch failed; the exit status is its own'
complete -c isadmin -n 'not __isadmin_in_userspace' -l atomic -d 'undo all that a batch did if one of its commands fails'
complete -c isadmin -n 'not __isadmin_in_userspace' -l dry-run -d 'show what the command would change, and change nothing'
complete -c isadmin -n 'not __isadmin_in_userspace' -s u -l userspace -d 'work on the userspace target, starting it if need be'
complete -c isadmin -n 'not __isadmin_in_userspace' -l configfs -x -a '(__fish_complete_directories)' -d 'work on the target whose configfs directory is DIR'
complete -c isadmin -n 'not __isadmin_in_userspace' -l show-secrets -d 'show CHAP secrets instead of ********'
complete -c isadmin -n 'not __isadmin_in_userspace' -l ask -d 'ask for CHAP secrets that are set to nothing (set auth password=)'
complete -c isadmin -n 'not __isadmin_in_userspace' -s y -l yes -d 'do not ask to confirm'
complete -c isadmin -n 'not __isadmin_in_userspace' -l output -x -a 'text json' -d 'print results as text, or as JSON: one document a line'
complete -c isadmin -n 'not __isadmin_in_userspace' -l debug -d 'show the traceback behind an error'
complete -c isadmin -n 'test (count (commandline -opc)) -eq 1' -a userspace -d 'start, stop, look at and use the userspace target'
complete -c isadmin -n __isadmin_action -a start -d 'start it, restore its saved configuration, and say where it is mounted'
complete -c isadmin -n '__isadmin_action start' -s h -l help -d 'show this help message and exit'
complete -c isadmin -n '__isadmin_action start' -l empty -d 'do not restore the saved configuration'
complete -c isadmin -n '__isadmin_action start' -l foreground -d 'stay in the foreground and log to standard error'
complete -c isadmin -n __isadmin_action -a stop -d 'log the initiators out and unmount; nothing runs any more'
complete -c isadmin -n '__isadmin_action stop' -s h -l help -d 'show this help message and exit'
complete -c isadmin -n __isadmin_action -a status -d 'say whether it runs, and where'
complete -c isadmin -n '__isadmin_action status' -s h -l help -d 'show this help message and exit'
complete -c isadmin -n '__isadmin_action status' -l output -x -a 'text json' -d 'as text, or as JSON'
complete -c isadmin -n __isadmin_action -a exec -d 'run a command that sees the mount at /sys/kernel/config/target'
complete -c isadmin -n '__isadmin_action exec' -a '(__fish_complete_subcommand --fcs-skip=3)'
