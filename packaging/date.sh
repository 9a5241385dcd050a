#!/bin/bash
# The date of the newest entry of packaging/changelog, in seconds: what files and lists of a package are dated with, so that two
# builds of the same sources are the same bytes.
set -euo pipefail
date --date "$(sed -n 's/^ -- .*>  //p' "$(dirname "$0")/changelog" | head -n 1)" +%s
