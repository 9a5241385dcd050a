//! Tables of what is and is not a name, a path, a range.
