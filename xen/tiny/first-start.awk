# What cloud-init would do at a first start, from the flattened user-data: writes its files, and prints its commands as a
# script. (std:tiny lives in memory, so that each start is a first one.)

# A text between double quotes, with JSON's escapes undone.
function plain(text,    out, place, sign, code) {
    for (place = 1; place <= length(text); place++) {
        sign = substr(text, place, 1)
        if (sign != "\\") {
            out = out sign
            continue
        }
        sign = substr(text, ++place, 1)
        if (sign == "u") {
            code = hex(substr(text, place + 1, 4))
            place += 4
            out = out utf8(code)
        } else if (sign == "n")
            out = out "\n"
        else if (sign == "t")
            out = out "\t"
        else if (sign == "r")
            out = out "\r"
        else if (sign == "b")
            out = out "\b"
        else if (sign == "f")
            out = out "\f"
        else
            out = out sign
    }
    return out
}

function hex(digits,    place, value) {
    for (place = 1; place <= length(digits); place++)
        value = value * 16 + index("0123456789abcdef", tolower(substr(digits, place, 1))) - 1
    return value
}

function utf8(code) {
    if (code < 128)
        return sprintf("%c", code)
    if (code < 2048)
        return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
    return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
}

# A text as one word of a shell.
function word(text) {
    gsub(/'/, "'\\''", text)
    return "'" text "'"
}

{
    split($1, names, ".")
    value = $0
    sub(/^[^\t]*\t/, "", value)
    value = plain(value)
}

names[1] == "write_files" {
    count = names[2] + 1 > count ? names[2] + 1 : count
    files[names[2], names[3]] = value
}

names[1] == "runcmd" {
    if (names[2] != last)
        command = command (command == "" ? "" : "\n") (names[3] == "" ? "sh -c" : "")
    last = names[2]
    command = command " " word(value)
}

BEGIN { last = "" }

END {
    for (number = 0; number < count; number++) {
        path = files[number, "path"]
        if (path == "")
            continue
        folder = path
        sub(/\/[^\/]*$/, "", folder)
        if (folder != "")
            system("mkdir -p " word(folder))
        printf "%s", files[number, "content"] >path
        close(path)
        if (files[number, "permissions"] != "")
            system("chmod " word(files[number, "permissions"]) " " word(path))
    }
    if (command != "")
        print command
}
