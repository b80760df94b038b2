# Reads the small part of cloud-config (and of NoCloud meta-data) that the small guest honours, and writes one
# file per fact into the folder `out`:
#
#   hostname, keys, runcmd (a shell script), file.N.path/.content/.permissions/.encoding/.append, ignored
#
# This is no YAML parser. It knows top-level keys, lists of plain or quoted strings, [flow, lists] of them in
# runcmd, block text after `|`, and the flat mappings of write_files. Whatever else it meets is named in
# `ignored`, which the boot prints on the console: better said than half done.

function ignore(what) { print source ": " what >> (out "/ignored") }

function indent_of(line) { match(line, /^ */); return RLENGTH }

function shell_quoted(text) { gsub(/'/, "'\\''", text); return "'" text "'" }

# The value of a scalar as YAML means it: quotes taken off, or a trailing comment.
function scalar(text,    i, c, value) {
  if (substr(text, 1, 1) == "'") {
    for (i = 2; i <= length(text); i++) {
      c = substr(text, i, 1)
      if (c == "'" && substr(text, ++i, 1) != "'") break
      value = value c
    }
    return value
  }
  if (substr(text, 1, 1) == "\"") {
    for (i = 2; i <= length(text); i++) {
      c = substr(text, i, 1)
      if (c == "\"") break
      if (c == "\\") {
        c = substr(text, ++i, 1)
        if (c == "n") c = "\n"; else if (c == "t") c = "\t"
      }
      value = value c
    }
    return value
  }
  sub(/[ \t]+#.*$/, "", text)
  sub(/[ \t]+$/, "", text)
  return text
}

# Takes [a, "b, c", 'd'] apart into elements[1..n]; n is the answer, or -1 when the list does not end here.
function flow(text, elements,    i, c, quote, one, n) {
  n = 0
  for (i = 2; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (quote != "") {
      one = one c
      if (c == "\\" && quote == "\"") one = one substr(text, ++i, 1)
      else if (c == quote) quote = ""
    } else if (c == "," || c == "]") {
      gsub(/^ +| +$/, "", one)
      if (one != "") elements[++n] = scalar(one)
      if (c == "]") return n
      one = ""
    } else {
      if ((c == "\"" || c == "'") && one ~ /^ *$/) quote = c
      one = one c
    }
  }
  ignore("a list that goes on over several lines: " text)
  return -1
}

# A command given as a list: every element is one argument.
function command(text,    elements, n, i, line) {
  n = flow(text, elements)
  for (i = 1; i <= n; i++) line = line (i > 1 ? " " : "") shell_quoted(elements[i])
  return n > 0 ? line : ":"
}

# A fact is complete.
function emit(key, value) {
  if (key == "hostname" || key == "local-hostname") print value > (out "/hostname")
  else if (key == "ssh_authorized_keys" || key == "public-keys") print value >> (out "/keys")
  else if (key == "runcmd") print value > (out "/runcmd")
  else if (key ~ /^file\./) printf "%s", value > (out "/" key)
}

# A value was met at the end of a line: either it is there, or its block starts on the next line.
function take(key, text, parent) {
  if (text ~ /^[|>][-+]?[0-9]/) { ignore("the indentation number of " key); sub(/[0-9]/, "", text) }
  if (text ~ /^[|>][-+]?[ \t]*(#.*)?$/) {
    if (text ~ /^>/) ignore("folded text (>) of " key " is taken as it stands")
    block_key = key; block_parent = parent; block_indent = -1
    block_strip = (text ~ /^.-/); block = ""; blank = ""
  } else if (key == "runcmd" && text ~ /^\[/) emit(key, command(text))
  else if (key == "runcmd" && text ~ /^- /) ignore("runcmd as a list of lists: write [a, b]")
  else emit(key, scalar(text))
}

function block_ends() {
  if (block_strip || block_key == "runcmd") sub(/\n$/, "", block)
  emit(block_key, block)
  block_key = ""
}

function in_block(line,    depth) {
  if (line ~ /^[ \t]*$/) { blank = blank "\n"; return 1 }
  depth = indent_of(line)
  if (depth <= block_parent) return 0
  if (block_indent < 0) block_indent = depth
  if (depth < block_indent) return 0
  block = block blank substr(line, block_indent + 1) "\n"
  blank = ""
  return 1
}

function field(text, depth,    name) { # path: /a/b, inside an element of write_files
  if (text !~ /^[a-z_]+:( |$)/) { ignore("in write_files: " text); return }
  name = text; sub(/:.*/, "", name)
  sub(/^[a-z_]+: */, "", text)
  if (name ~ /^(path|content|permissions|encoding|append)$/) take(sprintf("file.%03d.%s", files, name), text, depth)
  else if (name != "owner" && name != "defer") ignore("write_files: " name)
}

function element(text, depth) {
  if (section == "write_files") { files++; field(text, depth) }
  else if (section ~ /^(ssh_authorized_keys|public-keys|runcmd)$/) take(section, text, depth)
}

function list_on_one_line(text,    elements, n, i) {
  if (section !~ /keys$/ || text !~ /^\[/) { ignore(section " written on one line"); return }
  n = flow(text, elements)
  for (i = 1; i <= n; i++) emit(section, elements[i])
}

function top(text,    value) {
  section = text; sub(/:.*/, "", section)
  value = text; sub(/^[^:]*:[ \t]*/, "", value)
  if (section ~ /^(hostname|local-hostname)$/) take(section, value, 0)
  else if (section ~ /^(ssh_authorized_keys|public-keys|runcmd|write_files)$/) {
    if (value != "" && value !~ /^(#|\[ *\])/) list_on_one_line(value)
  } else if (section != "instance-id") ignore(section)
}

BEGIN { files = 0; section = ""; block_key = "" }
{ sub(/\r$/, "") }
block_key != "" { if (in_block($0)) next; block_ends() }
/^[ \t]*(#|$)/ || /^(---|\.\.\.)/ { next }
/^[^ \t-][^:]*:/ { top($0); next }
/^ *- / { depth = indent_of($0); text = $0; sub(/^ *- +/, "", text); element(text, depth); next }
section == "write_files" { depth = indent_of($0); text = $0; sub(/^ +/, "", text); field(text, depth); next }
section ~ /^(ssh_authorized_keys|public-keys|runcmd)$/ { ignore(section ": " $0) }
section == "" { ignore($0) }
END { if (block_key != "") block_ends() }
