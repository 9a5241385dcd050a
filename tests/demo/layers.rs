//! A pull of eight large layers by containerd through two builds of the agent, in turns.

use crate::lab::{AgentOptions, Lab, MoreLayers};

const LAYERS: MoreLayers = MoreLayers {
    count: 8,
    bytes: 32 << 20,
};

/// Prints how long each pull took and the ratio of the builds, round by round; `arguments` are the newer binary, the older
/// one, and the number of rounds.
pub(crate) fn measure(arguments: &[String]) {
    let [now, before, rounds] = arguments else {
        panic!("layers NOW BEFORE ROUNDS, and not {arguments:?}");
    };
    let [now, before] = [now, before].map(|program| AgentOptions {
        program: program.into(),
        ..AgentOptions::default()
    });
    let rounds: usize = rounds.parse().expect("ROUNDS is a number");

    let mut lab = Lab::start();
    let image = lab.publish_with_layers("library/layers", LAYERS);
    let reference = image.by_tag("docker.io");
    let mut pull = |agent: &AgentOptions| {
        lab.start_agent(agent);
        let pull = lab.containerd().pull(&reference);
        assert!(pull.succeeded, "the pull failed:\n{}", pull.output);
        lab.containerd().forget_images();
        pull.took.as_secs_f64()
    };
    println!("warming up: {:.2} s, {:.2} s", pull(&before), pull(&now));
    let mut ratios = Vec::new();
    for round in 0..rounds {
        // Each round begins with the other build.
        let (old, new) = if round % 2 == 0 {
            let old = pull(&before);
            (old, pull(&now))
        } else {
            let new = pull(&now);
            (pull(&before), new)
        };
        let ratio = new / old;
        println!("before {old:.2} s, now {new:.2} s: {ratio:.3}");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let (least, median, most) = (ratios.first(), ratios.get(rounds / 2), ratios.last());
    if let (Some(least), Some(median), Some(most)) = (least, median, most) {
        println!("now / before: {median:.3} ({least:.3}–{most:.3})");
    }
}
