//! Pulls all the time, and requests one by one at the agent that the node's files name.

use crate::lab::Image;
use crate::node::Node;

/// Each request is asked once, of whom containerd would ask first at that moment: when, how long it took, curl's exit
/// status, the answer's, and whom. Each pull is containerd's, which asks the next host of the file where one does not answer.
const SCRIPT: &str = r#"
accept='Accept: application/vnd.oci.image.index.v1+json'
(while [ ! -e /root/enough ]; do
    agent=$(sed -n 's,^\[host\."http://\(127.0.0.1:[0-9]*\)"\].*,\1,p' HOSTS/docker.io/hosts.toml | head -n 1)
    began=$(date +%s.%N)
    curl -s -o /dev/null -I --max-time 30 -H "$accept" -w "$began %{time_total} %{exitcode} %{http_code} $agent\n" \
        "http://$agent/v2/REPOSITORY/manifests/1?ns=docker.io" >>/root/requests
    sleep 0.02
done) &
while [ ! -e /root/enough ]; do
    ctr images rm --sync REFERENCE >/dev/null 2>&1 || true
    if ctr images pull --hosts-dir HOSTS REFERENCE >/root/pull 2>&1; then echo good; else echo "bad: $(cat /root/pull)"; fi >>/root/pulls
done
wait
"#;

/// What was seen under load.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) pulls: usize,
    pub(crate) requests: Vec<Request>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    /// In seconds.
    began: f64,
    took: f64,
    /// Whether the agent answered it with the manifest.
    good: bool,
    /// Where the files led.
    agent: String,
}

pub(crate) fn start(node: &Node, image: &Image) {
    let script = SCRIPT
        .replace("REPOSITORY", image.repository())
        .replace("HOSTS", node.certs_d())
        .replace("REFERENCE", &image.by_tag("docker.io"));
    node.machine.write("/root/load.sh", &script);
    node.machine
        .shell("rm -f /root/enough /root/pulls /root/requests; systemd-run --unit=load --collect sh /root/load.sh");
    pulls_go_on(node);
}

/// Waits until two more pulls have gone well: what was begun before has ended then.
pub(crate) fn pulls_go_on(node: &Node) {
    let good = || {
        let pulls = node.machine.say("cat", &["/root/pulls"]);
        pulls.lines().filter(|line| *line == "good").count()
    };
    let before = good();
    node.wait("pulls go well", |_| good() >= before + 2);
}

/// Ends it. Every pull must have gone well.
pub(crate) fn end(node: &Node) -> Load {
    node.machine.write("/root/enough", "");
    node.wait("the load ends", |node| {
        node.machine.say("systemctl", &["is-active", "load"]) != "active"
    });
    let pulls = node.machine.run("cat", &["/root/pulls"]);
    let bad: Vec<&str> = pulls.lines().filter(|line| *line != "good").collect();
    assert_eq!(bad, Vec::<&str>::new(), "{}", node.journal(&[]));
    let text = node.machine.run("cat", &["/root/requests"]);
    let requests = text.lines().map(|line| {
        let [began, took, exit, status, agent] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?}");
        };
        Request {
            began: began.parse().unwrap(),
            took: took.parse().unwrap(),
            good: (exit, status) == ("0", "200"),
            agent: agent.to_owned(),
        }
    });
    Load {
        pulls: pulls.lines().count(),
        requests: requests.collect(),
    }
}

impl Load {
    /// How long the files led to nobody, in seconds, if they did: from the first request that got no answer to the end of the last. All of
    /// them went to `agent`.
    pub(crate) fn gap(&self, agent: &str) -> Option<f64> {
        let bad: Vec<&Request> = self.requests.iter().filter(|one| !one.good).collect();
        for request in &bad {
            assert_eq!(request.agent, agent, "{request:?}");
        }
        let (first, last) = (bad.first()?, bad.last()?);
        Some(last.began + last.took - first.began)
    }
}
