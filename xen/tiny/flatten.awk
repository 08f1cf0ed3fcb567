# Flattens the part of YAML that NoCloud seeds are written in: a line per value, its path, a tab, and the value.
#   ethernets:              ethernets.eth0.addresses.0<TAB>10.77.0.31/24
#     eth0:
#       addresses: [10.77.0.31/24]
# Known are maps and lists by indentation, lists and maps in brackets (so JSON too, on one line), quotes, comments.
# Escapes in double quotes stay as they are written: first-start.awk undoes them.
# Not known are anchors, tags, and texts over several lines, which are passed over line by line.

function trim(text) {
    gsub(/^[ \t]+|[ \t\r]+$/, "", text)
    return text
}

function unquote(text) {
    text = trim(text)
    if (text ~ /^".*"$/ || text ~ /^'.*'$/)
        return substr(text, 2, length(text) - 2)
    return text
}

# The text up to a comment that is not inside quotes.
function uncomment(text,    place, sign, quote, before) {
    for (place = 1; place <= length(text); place++) {
        sign = substr(text, place, 1)
        before = place == 1 ? " " : substr(text, place - 1, 1)
        if (quote == "\"" && sign == "\\")
            place++
        else if (quote == "" && (sign == "\"" || sign == "'") && before ~ /[ \t:,\[{]/)
            quote = sign
        else if (sign == quote)
            quote = ""
        else if (sign == "#" && quote == "" && before ~ /[ \t]/)
            return substr(text, 1, place - 1)
    }
    return text
}

# Prints a value, or what its brackets hold.
function emit(path, text,    inner, place, sign, quote, depth, part, count, key) {
    text = trim(text)
    if (text !~ /^[[{].*[]}]$/) {
        if (text != "" && text != "|" && text != ">")
            print path "\t" unquote(text)
        return
    }
    inner = substr(text, 2, length(text) - 2) ","
    for (place = 1; place <= length(inner); place++) {
        sign = substr(inner, place, 1)
        if (quote != "") {
            if (quote == "\"" && sign == "\\") {
                part = part sign
                sign = substr(inner, ++place, 1)
            } else if (sign == quote)
                quote = ""
        } else if (sign == "\"" || sign == "'")
            quote = sign
        else if (sign ~ /[[{]/)
            depth++
        else if (sign ~ /[]}]/)
            depth--
        else if (sign == "," && depth == 0) {
            if (text ~ /^\[/) {
                if (trim(part) != "")
                    emit(path "." count++, part)
            } else if (match(part, /"?[ \t]*:/)) {
                key = unquote(substr(part, 1, RSTART + (substr(part, RSTART, 1) == "\"" ? 0 : -1)))
                emit((path == "" ? "" : path ".") key, substr(part, RSTART + RLENGTH))
            }
            part = ""
            continue
        }
        part = part sign
    }
}

# Leaves what is indented as far as `indent` or further; a list may stand as far left as its key.
function leave(indent) {
    while (top > 0 && indents[top] >= indent)
        top--
}

function path_of(    place, path) {
    for (place = 1; place <= top; place++)
        path = path (place > 1 ? "." : "") names[place]
    return path
}

{
    line = uncomment($0)
    if (trim(line) == "" || line ~ /^(---|\.\.\.)/)
        next
    match(line, /^ */)
    indent = RLENGTH
    rest = trim(line)
    if (indent == 0 && rest ~ /^[[{]/) {
        emit("", rest)
        next
    }
    # Each dash opens one place of a list; half a step of indentation keeps it below its key.
    while (rest ~ /^-( |$)/) {
        leave(indent + 0.5)
        id = path_of()
        indents[++top] = indent + 0.5
        names[top] = places[id]++ + 0
        step = match(substr(rest, 2), /[^ ]/)
        if (step == 0)
            next
        indent += step
        rest = substr(rest, step + 1)
    }
    if (match(rest, /^("[^"]*"|'[^']*'|[A-Za-z0-9_.-]+)[ \t]*:([ \t]|$)/)) {
        key = unquote(substr(rest, 1, index(substr(rest, 1, RLENGTH), ":") - 1))
        if (rest ~ /^["']/) {
            quote = substr(rest, 1, 1)
            key = substr(rest, 2, index(substr(rest, 2), quote) - 1)
        }
        leave(indent)
        indents[++top] = indent
        names[top] = key
        emit(path_of(), substr(rest, RLENGTH + 1))
    } else
        emit(path_of(), rest)
}
