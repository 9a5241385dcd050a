//! Routes that were made before: a node asks for the same repositories again and again, and a route depends on nothing but
//! the configuration and the name.

use super::Route;
use crate::oci::RawName;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};

/// Routes that are kept, of some hundred bytes each. When there are more all are forgotten.
const CAPACITY: usize = 1024;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) ns: Option<&'a str>,
    pub(super) name: &'a RawName,
    /// Tags or referrers, which go elsewhere.
    pub(super) is_list: bool,
}

/// The routes, by the hash of what was asked for.
#[derive(Debug, Default)]
pub(super) struct Known {
    routes: Mutex<HashMap<u64, Entry>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry {
    ns: Option<Box<str>>,
    name: RawName,
    is_list: bool,
    route: Arc<Route>,
}

impl Known {
    pub(super) fn get(&self, asked: Asked<'_>) -> Option<Arc<Route>> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = routes.get(&self.hash(asked))?;
        // Names with the same hash are rare, and are told apart.
        entry.is_of(asked).then(|| entry.route.clone())
    }

    pub(super) fn put(&self, asked: Asked<'_>, route: &Arc<Route>) {
        let entry = Entry {
            ns: asked.ns.map(Into::into),
            name: asked.name.clone(),
            is_list: asked.is_list,
            route: route.clone(),
        };
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.len() >= CAPACITY {
            routes.clear();
        }
        routes.insert(self.hash(asked), entry);
    }

    fn hash(&self, asked: Asked<'_>) -> u64 {
        let Asked { ns, name, is_list } = asked;
        self.hasher.hash_one((ns, name.as_str(), is_list))
    }
}

impl Entry {
    fn is_of(&self, asked: Asked<'_>) -> bool {
        self.ns.as_deref() == asked.ns && self.name == *asked.name && self.is_list == asked.is_list
    }
}
