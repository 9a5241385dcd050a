#!/bin/sh
# The roles without a node: ansible-lint at its strictest, and every playbook with the example inventory. Seconds; no root.
set -eu
cd "$(dirname "$0")/../../ansible"

for program in ansible-lint ansible-playbook; do
    command -v "$program" >/dev/null || { echo "not installed: $program; run \`make deps\` as root" >&2; exit 1; }
done

ansible-lint --strict --nocolor
for playbook in playbooks/*.yml; do
    ansible-playbook --syntax-check "$playbook"
done
# The inventory's ranges and variables are read, and the plays find their hosts.
hosts=$(ansible-playbook --list-hosts playbooks/rollout.yml | grep -c 'example\.com$')
[ "$hosts" = 23 ] || { echo "the example inventory has $hosts nodes instead of 23" >&2; exit 1; }
hosts=$(ansible-playbook --list-hosts playbooks/tier_core.yml playbooks/tier_replica.yml | grep -c 'example\.com$')
[ "$hosts" = 4 ] || { echo "the example inventory has $hosts Harbor hosts instead of 4" >&2; exit 1; }
# Which package is taken for which node, and what counts as installed.
ansible-playbook --inventory localhost, ../tests/ansible/choice.yml
