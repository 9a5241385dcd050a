//! That nobody is ever left without a candidate.

mod strand;

use super::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
