#!/bin/sh
# The module and the filter of the role harbor_tier against a scripted Harbor on loopback. Half a minute; no root.
set -eu
cd "$(dirname "$0")"

# The Python that has Ansible.
playbook=$(command -v ansible-playbook) || { echo "not installed: ansible-playbook; run \`make deps\` as root" >&2; exit 1; }
python=$(sed -n '1s/^#! *//p' "$playbook")
export PYTHONDONTWRITEBYTECODE=1

said=$($python -m unittest test_filter test_module 2>&1) || { echo "$said"; exit 1; }
echo "$said"
# In the words of a Rust test, which tests/parts.sh adds up.
echo "test result: ok. $(echo "$said" | sed -n 's/^Ran \([0-9]*\) tests.*/\1/p') passed; 0 failed"
