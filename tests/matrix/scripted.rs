//! A laboratory whose sources are scripted: they break at the byte that a test names.

use crate::control::Control;
use crate::image;
use crate::lab::{AgentOptions, Lab, Pull, TAG};
use crate::plan::{Fault, Source};
use crate::sources::{Asked, Order, Strike, repository};
use crate::support::Image;
use std::time::Duration;

/// Both addresses of REPLICA.
pub(crate) const REPLICA: [Source; 2] = [Source::ReplicaA, Source::ReplicaB];

/// The laboratory with its sources' other end.
pub(crate) struct Scripted {
    pub(crate) lab: Lab,
    pub(crate) control: Control,
    seed: u64,
}

/// An image that all sources hold, and that this containerd has not seen.
pub(crate) struct Held {
    pub(crate) image: Image,
    /// `docker.io/…:1`
    pub(crate) reference: String,
}

impl Scripted {
    pub(crate) fn start() -> Self {
        let lab = Lab::start_without_servers();
        let control = Control::start(&lab);
        Self {
            lab,
            control,
            seed: 0,
        }
    }

    /// Healthy sources with a new image of these layers, an empty containerd and a fresh agent.
    pub(crate) fn hold(&mut self, layers: &[usize]) -> Held {
        self.seed += 1;
        self.control.tell(&Order::Hold {
            seed: self.seed,
            layers: layers.to_vec(),
        });
        self.lab.containerd().forget_images();
        self.lab.start_agent(&AgentOptions::default());
        Held {
            image: image::make(self.seed, layers),
            reference: format!("docker.io/{}:{TAG}", repository(self.seed)),
        }
    }

    /// A fault of the first layer's body at these sources. `None`: only a pace at which something can happen meanwhile.
    pub(crate) fn strike(
        &mut self,
        held: &Held,
        sources: &[Source],
        fault: Option<Fault>,
        at: usize,
        once: bool,
    ) {
        for source in sources {
            self.control.tell(&Order::Strike(Strike {
                source: *source,
                fault,
                ending: held.layer(),
                blob: Some(0),
                at,
                once,
            }));
        }
    }

    /// Pulls; as soon as the first layer is asked for, and `after` later, something is done.
    pub(crate) fn pull_and(
        &mut self,
        held: &Held,
        after: Duration,
        what: impl FnOnce(&mut Self),
    ) -> Pull {
        self.control.tell(&Order::Watch {
            ending: held.layer(),
        });
        let limit = Duration::from_secs(60);
        let pulling = self.lab.containerd().start_pull(&held.reference, limit);
        while !pulling.is_finished() && !self.control.has_seen() {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(after);
        what(self);
        pulling.join().expect("the pull's thread ends")
    }

    /// Pulls while nobody meddles, and what the sources were asked meanwhile for the first layer.
    pub(crate) fn pull(&mut self, held: &Held) -> (Pull, Vec<Asked>) {
        self.control.tell(&Order::Watch {
            ending: held.layer(),
        });
        let pull = self.lab.containerd().pull(&held.reference);
        let asked = self.asked(held);
        (pull, asked)
    }

    /// What the sources were asked for the first layer since the pull began, and gave.
    pub(crate) fn asked(&mut self, held: &Held) -> Vec<Asked> {
        let ending = held.layer();
        let all = self.control.asked().into_iter();
        let gave = |asked: &Asked| (200..300).contains(&asked.status);
        all.filter(|asked| asked.path.ends_with(&ending) && gave(asked))
            .collect()
    }

    /// The pull succeeded, with the very image, whole.
    pub(crate) fn assert_well(&self, pull: &Pull, held: &Held) {
        let log = || self.lab.agent().log();
        assert!(pull.succeeded, "{}\n{}", pull.output, log());
        self.assert_whole(held);
    }

    /// containerd has the very image, every blob by its digest, and has unpacked it.
    pub(crate) fn assert_whole(&self, held: &Held) {
        let containerd = self.lab.containerd();
        assert_eq!(
            containerd.digest_of(&held.reference).as_deref(),
            Some(held.image.top.digest.as_str())
        );
        assert!(containerd.is_complete(&held.reference));
    }

    /// Lines of the agent's log that hold all these words.
    pub(crate) fn said(&self, words: &[&str]) -> Vec<String> {
        let log = self.lab.agent().log();
        let lines = log.lines();
        let fits = lines.filter(|line| words.iter().all(|word| line.contains(word)));
        fits.map(str::to_owned).collect()
    }
}

impl Held {
    /// How the path of the first layer ends: its digest.
    pub(crate) fn layer(&self) -> String {
        self.image.blobs[0].digest.to_string()
    }

    /// How long the first layer is.
    pub(crate) fn length(&self) -> usize {
        self.image.blobs[0].body.len()
    }
}

/// The first byte that a request is for.
pub(crate) fn first_byte(asked: &Asked) -> usize {
    let numbers = asked.range.strip_prefix("bytes=").unwrap_or("0-");
    let first = numbers.split('-').next().unwrap_or("0");
    first.parse().expect("a number")
}
