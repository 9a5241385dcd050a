//! The grammar of the command line.
