#!/bin/bash
# `make lines`: lines of src and of each folder in it without tests, test help (testing.rs) and the image that the server has for
# doctor (left out from the beginning), so that two commits can be compared: `make lines` in each. An inline `#[cfg(test)] mod … {`
# counts as a test, up to its file's end.
set -eu
cd "$(dirname "$0")/.."

count() {
    find "$@" -name '*.rs' -print0 | sort -z |
        grep -zv '/tests/\|/tests\.rs$\|/testing\.rs$\|/doctor_image\.rs$' |
        xargs -0 awk '
            FNR == 1 { skipped = 0 }
            /^#\[cfg\(test\)\]$/ { held = 1; next }
            held && /^mod [a-z_]+ \{$/ { skipped = 1 }
            { if (held && !skipped) lines++; held = 0 }
            !skipped { lines++ }
            END { print lines + 0 }'
}

for folder in src/*/; do
    name=${folder%/}
    file=$name.rs
    [ -e "$file" ] || file=
    printf '%7d  %s\n' "$(count "$name" ${file:+"$file"})" "$name"
done
printf '%7d  %s\n' "$(count src)" src
