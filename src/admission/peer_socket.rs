//! A TCP socket of this machine, as the kernel shows it.

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerSocket {
    pub(super) is_established: bool,
    /// Whose it is; 0 also of a socket that its owner has closed.
    pub(super) uid: u32,
    /// 0: its owner has closed it.
    pub(super) inode: u32,
}

impl PeerSocket {
    /// An open connection of a process of uid 0 or of ours.
    pub(super) fn is_trusted(self, own: u32) -> bool {
        self.is_established && self.is_open() && (self.uid == 0 || self.uid == own)
    }

    pub(super) fn is_open(self) -> bool {
        self.inode != 0
    }
}
