//! That nobody is ever left without a candidate.

mod strand;

use super::*;
use std::time::Duration;
