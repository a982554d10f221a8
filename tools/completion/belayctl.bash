# bash completion for belayctl. Keys of sessions, nodes and policies are asked of the server, for a second at most.

_belayctl_ask()
{
    local server=()
    local i

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -s | --server)
            server=(-s "${COMP_WORDS[i + 1]}")
            # A colon is a word of its own to readline.
            if [[ ${COMP_WORDS[i + 2]-} == : ]]; then
                server=(-s "${COMP_WORDS[i + 1]}:${COMP_WORDS[i + 3]-}")
            fi
            ;;
        esac
    done
    belayctl "$@" "${server[@]}" --timeout 1s 2>/dev/null
}

_belayctl_nodes()
{
    _belayctl_ask node list --json | grep -o '"name":"[^"]*"' | cut -d '"' -f 4
}

_belayctl_policies()
{
    _belayctl_ask policy list | sed -n 's/^\[policy "\(.*\)"\]$/\1/p'
}

# Of the lines that are read those that begin with what is typed, quoted for the shell: anybody may have chosen them, so
# that they are no words for `compgen -W`, which would run what is in $( ).
_belayctl_offer()
{
    local line

    while IFS= read -r line; do
        printf -v line %q "$line"
        if [[ $line == "$1"* ]]; then
            COMPREPLY+=("$line")
        fi
    done
}

_belayctl()
{
    local current previous options command="" group="" word i
    local groups="status session node cluster rebalance ring slot policy join-token log data archive config import password completion"

    current=${COMP_WORDS[COMP_CWORD]}
    previous=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        status | session | node | cluster | rebalance | ring | slot | policy | join-token | log | data | archive | config | import | password | completion)
            if [[ -z $group ]]; then
                group=$word
                continue
            fi
            ;;
        esac
        case "$group $word" in
        "session get" | "session put" | "session del" | "session touch" | "session inspect" | \
            "session list" | "session where" | "node list" | "node drain" | "node weight" | "node activate" | \
            "node remove" | "node degrade" | "node undegrade" | "cluster restart-check" | "cluster replicas" | "policy list" | "policy set" | "policy rm" | "log dump" | "data dump" | \
            "config get" | "completion bash" | "archive cat" | "archive status" | "archive give-up" | "archive ls" | \
            "archive verify" | "archive restore" | "archive forget")
            if [[ -z $command ]]; then
                command="$group $word"
            fi
            ;;
        esac
    done
    case $group in status | rebalance | ring | slot | join-token | import | password) command=$group ;; esac

    case $previous in
    --svg | --key-file | --ca-file | --credentials-file | --state | --output)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --type)
        mapfile -t COMPREPLY < <(compgen -W "blob map set zset" -- "$current")
        return
        ;;
    --by)
        mapfile -t COMPREPLY < <(compgen -W "load" -- "$current")
        return
        ;;
    --ack)
        mapfile -t COMPREPLY < <(compgen -W "memory replica disk archive" -- "$current")
        return
        ;;
    -s | --server | --timeout | --ttl | --idle | --owner | --if-version | --prefix | --limit | \
        --delete | --add | --match | --cluster | --endpoint | --region | --from | --as-of | --session | \
        --older-than | --over | --weight | --every | --measure)
        return
        ;;
    esac

    options="--server --json --timeout --help"
    case $command in
    "session get") options+=" --meta --siblings --raw" ;;
    "session put")
        options+=" --type --create --update --if-version --replace --delete --add --ttl --idle"
        options+=" --persist --owner --ack"
        ;;
    "session del") options+=" --prefix --force" ;;
    "session list") options+=" --prefix --type --limit" ;;
    "node drain") options+=" --wait --cancel" ;;
    "node weight") options+=" --over" ;;
    "node activate") options+=" --over --weight" ;;
    "node remove") options+=" --force" ;;
    "cluster restart-check") options+=" --wait" ;;
    rebalance) options+=" --by --dry-run --every --over --measure" ;;
    ring) options+=" --svg" ;;
    import) options+=" --match" ;;
    "archive status") ;;
    "archive give-up") options+=" --force" ;;
    archive\ *) options+=" --cluster --key-file --endpoint --region --path-style --host-style --ca-file --credentials-file" ;;
    esac
    case $command in
    "archive restore")
        options+=" --from --as-of --state --force --session --prefix --undelete --dry-run --output"
        ;;
    "archive forget") options+=" --older-than --dry-run" ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
    fi
    case "$group/$command" in
    /) mapfile -t COMPREPLY < <(compgen -W "$groups" -- "$current") ;;
    session/) mapfile -t COMPREPLY < <(compgen -W "get put del touch inspect where list" -- "$current") ;;
    node/) mapfile -t COMPREPLY < <(compgen -W "list drain weight activate remove degrade undegrade" -- "$current") ;;
    cluster/) mapfile -t COMPREPLY < <(compgen -W "replicas restart-check" -- "$current") ;;
    policy/) mapfile -t COMPREPLY < <(compgen -W "list set rm" -- "$current") ;;
    log/ | data/) mapfile -t COMPREPLY < <(compgen -W "dump" -- "$current") ;;
    completion/) mapfile -t COMPREPLY < <(compgen -W "bash" -- "$current") ;;
    archive/) mapfile -t COMPREPLY < <(compgen -W "status give-up ls cat verify restore forget" -- "$current") ;;
    config/) mapfile -t COMPREPLY < <(compgen -W "get" -- "$current") ;;
    "log/log dump" | "archive/archive cat") mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    "data/data dump") mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    session/session\ list | node/node\ list | policy/policy\ list | cluster/cluster\ replicas) ;;
    node/node\ * | cluster/cluster\ *)
        _belayctl_offer "$current" < <(_belayctl_nodes)
        ;;
    policy/policy\ *)
        _belayctl_offer "$current" < <(_belayctl_policies)
        ;;
    session/*)
        _belayctl_offer "$current" < <(_belayctl_ask session list --limit 50 --prefix "$current")
        ;;
    esac
}

complete -F _belayctl belayctl
