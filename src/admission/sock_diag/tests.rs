//! Questions and answers byte by byte, and the kernel's own.

use super::*;
use std::net::TcpStream;

const WORDS: bool = cfg!(target_endian = "little");

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_question_is_laid_out_as_the_kernel_wants_it() {
    if !WORDS {
        return;
    }
    let bytes = question(addr("127.0.0.2:40000"), addr("127.0.0.1:290"), 7);
    let due = [
        &[72, 0, 0, 0, 20, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0][..],
        &[2, 6, 0, 0, 255, 255, 255, 255],
        &[0x9c, 0x40, 1, 0x22],
        &[127, 0, 0, 2],
        &[0; 12],
        &[127, 0, 0, 1],
        &[0; 12],
        &[0; 4],
        &[255; 8],
    ]
    .concat();
    assert_eq!(bytes.as_slice(), due);
    let mapped = question(
        addr("[::ffff:127.0.0.2]:40000"),
        addr("[::ffff:127.0.0.1]:290"),
        7,
    );
    assert_eq!(mapped, bytes, "the peer's socket is one of IPv4");
    let six = question(addr("[::1]:1"), addr("[::1]:2"), 7);
    assert_eq!((six[16], six[43], six[59]), (AF_INET6, 1, 1));
}

/// An answer to a question, as the kernel lays it out.
fn answer(question: &[u8], state: u8, uid: u32, inode: u32) -> Vec<u8> {
    let mut bytes = question[..HEADER].to_vec();
    bytes.extend_from_slice(&[AF_INET, state, 0, 0]);
    bytes.extend_from_slice(&question[HEADER + 8..]);
    for number in [0, 0, 0, uid, inode] {
        bytes.extend_from_slice(&number.to_ne_bytes());
    }
    bytes
}

#[test]
fn answers_are_read_and_nothing_else_is() {
    let question = question(addr("127.0.0.2:40000"), addr("127.0.0.1:290"), 7);
    let socket = |is_established, uid, inode| {
        Answer::Socket(PeerSocket {
            is_established,
            uid,
            inode,
        })
    };
    let changed = |at: usize, to: u8| {
        let mut bytes = answer(&question, 1, 0, 5);
        bytes[at] = to;
        bytes
    };
    let error = |number: i32| {
        let mut bytes = question[..HEADER].to_vec();
        bytes[4] = 2;
        bytes.extend_from_slice(&number.to_ne_bytes());
        bytes
    };
    let whole = answer(&question, 1, 1000, 4711);
    let table = [
        (whole.clone(), socket(true, 1000, 4711)),
        (answer(&question, 1, 0, 5), socket(true, 0, 5)),
        (answer(&question, 5, 0, 0), socket(false, 0, 0)),
        // Who listens on that port is shown where there is no such connection.
        (changed(HEADER + 4 + 2, 9), Answer::Error(NO_ENTRY)),
        (changed(HEADER + 4 + 4, 9), Answer::Error(NO_ENTRY)),
        (changed(HEADER + 4 + 20, 9), Answer::Error(NO_ENTRY)),
        (changed(8, 9), Answer::Other),
        (changed(4, 9), Answer::Other),
        (error(-2), Answer::Error(-2)),
        (error(-1), Answer::Error(-1)),
        (whole[..whole.len() - 1].to_vec(), Answer::Other),
        (whole[..HEADER].to_vec(), Answer::Error(NO_ENTRY)),
        (Vec::new(), Answer::Other),
    ];
    for (bytes, due) in table {
        assert_eq!(read(&bytes, &question), due, "{bytes:?}");
    }
}

#[test]
fn the_kernel_knows_our_sockets_and_who_has_closed_theirs() {
    let mut diag = SockDiag::open().unwrap();
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(at).unwrap();
        let at = listener.local_addr().unwrap();
        let client = TcpStream::connect(at).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let own = rustix::process::geteuid().as_raw();
        let found = diag.find(peer, at).unwrap().unwrap();
        assert!(
            found.is_established && found.uid == own && found.inode > 0,
            "{found:?}"
        );
        let ours = diag.find(at, peer).unwrap().unwrap();
        assert_ne!(ours.inode, found.inode);
        // Ended one direction: its owner still has it.
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let found = diag.find(peer, at).unwrap().unwrap();
        assert!(!found.is_established, "{found:?}");
        assert_ne!(found.inode, 0);
        drop(client);
        let found = diag.find(peer, at).unwrap();
        assert!(
            found.is_none_or(|found| found.inode == 0 && !found.is_established),
            "{found:?}"
        );
        drop(accepted);
        let nobody = SocketAddr::new(at.ip(), 1);
        assert_eq!(
            diag.find(nobody, at).unwrap(),
            None,
            "the listener is no answer"
        );
    }
    // What an accept costs more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let _client = TcpStream::connect(at).unwrap();
    let (_accepted, peer) = listener.accept().unwrap();
    let since = std::time::Instant::now();
    for _ in 0..1000 {
        diag.find(peer, at).unwrap().unwrap();
    }
    let each = since.elapsed() / 1000;
    println!("one question takes {each:?}");
    assert!(each < std::time::Duration::from_millis(1), "{each:?}");
}
