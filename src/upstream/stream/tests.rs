//! Bytes survive any chunking, and errors come after the data before them.

use super::{READ_AHEAD, ReadAhead, Stream};
use proptest::prelude::{any, prop, proptest};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

/// One answer of a scripted reader.
#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    Pending,
    Broken,
}

#[derive(Debug)]
struct Scripted(VecDeque<Step>);

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            None => Poll::Ready(Ok(())),
            Some(Step::Pending) => Poll::Pending,
            Some(Step::Broken) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Step::Bytes(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                if !rest.is_empty() {
                    self.0.push_front(Step::Bytes(rest));
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// Reads to the end or the error with buffers of these sizes, in turn.
fn read_all(reader: &mut (impl AsyncRead + Unpin), sizes: &[usize]) -> (Vec<u8>, bool) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut got = Vec::new();
    for size in sizes.iter().cycle().take(1_000_000) {
        let mut space = vec![0; *size];
        let mut buf = ReadBuf::new(&mut space);
        match Pin::new(&mut *reader).poll_read(&mut cx, &mut buf) {
            Poll::Pending => {}
            Poll::Ready(Err(_)) => return (got, true),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => return (got, false),
            Poll::Ready(Ok(())) => got.extend_from_slice(buf.filled()),
        }
    }
    panic!("no end");
}

fn script(chunks: &[Vec<u8>], pending: &[bool], broken: bool) -> Scripted {
    let mut steps = VecDeque::new();
    for (i, chunk) in chunks.iter().enumerate() {
        if pending.get(i).copied().unwrap_or(false) {
            steps.push_back(Step::Pending);
        }
        steps.push_back(Step::Bytes(chunk.clone()));
    }
    if broken {
        steps.push_back(Step::Broken);
    }
    Scripted(steps)
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_bytes(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5000), 0..20),
        pending in prop::collection::vec(any::<bool>(), 20),
        sizes in prop::collection::vec(1_usize..9000, 1..5),
        broken in any::<bool>(),
    ) {
        let expected = (chunks.concat(), broken);
        let mut ahead = reading_ahead(script(&chunks, &pending, broken));
        assert_eq!(read_all(&mut ahead, &sizes), expected);
        let mut stream = Stream::new(script(&chunks, &pending, broken));
        assert_eq!(read_all(&mut stream, &sizes), expected);
        let received = stream.received();
        assert_eq!(received, expected.0.len() as u64);
        let mut both = Stream::new(reading_ahead(script(&chunks, &pending, broken)));
        assert_eq!(read_all(&mut both, &sizes), expected);
    }
}

/// It may read ahead.
fn reading_ahead<T>(inner: T) -> ReadAhead<T>
where
    T: AsyncRead + Unpin,
{
    let mut ahead = ReadAhead::new(inner);
    ahead.allow(true);
    ahead
}

#[test]
fn it_reads_ahead_from_the_first_full_read_on_and_keeps_no_buffer_while_nothing_comes() {
    let mut cx = Context::from_waker(Waker::noop());
    let steps = [vec![7; 100], vec![7; 30_000], vec![7; 100], vec![7; 100]];
    let mut ahead = reading_ahead(script(&steps, &[false, false, true, false], false));
    let mut space = [0; 5000];
    let mut reads = Vec::new();
    for _ in 0..11 {
        let mut buf = ReadBuf::new(&mut space);
        let read = Pin::new(&mut ahead).poll_read(&mut cx, &mut buf);
        reads.push((
            read.is_ready(),
            buf.filled().len(),
            ahead.buffer.len(),
            ahead.buffer.capacity() > 0,
        ));
    }
    let expected = [
        // Small answers go by.
        (true, 100, 0, false),
        (true, 5000, 0, false),
        // One filled the reader's buffer: the rest comes at once.
        (true, 5000, 20_000, true),
        (true, 5000, 15_000, true),
        (true, 5000, 10_000, true),
        (true, 5000, 5000, true),
        (true, 5000, 0, true),
        (false, 0, 0, false),
        // What comes is small again.
        (true, 100, 0, false),
        (true, 100, 0, false),
        (true, 0, 0, false),
    ];
    assert_eq!(reads, expected);
}

/// Memory is counted where it is allowed, and nowhere else.
#[test]
fn it_keeps_no_buffer_where_it_may_not() {
    let mut cx = Context::from_waker(Waker::noop());
    let mut ahead = ReadAhead::new(script(&[vec![7; 60_000]], &[false], false));
    let mut space = [0; 5000];
    for nth in 0..12 {
        ahead.allow((3..6).contains(&nth));
        let mut buf = ReadBuf::new(&mut space);
        assert!(Pin::new(&mut ahead).poll_read(&mut cx, &mut buf).is_ready());
        assert_eq!(buf.filled(), [7; 5000]);
        let keeps = ahead.buffer.capacity() > 0;
        assert_eq!(
            keeps,
            (3..11).contains(&nth),
            "{nth}: to the end of what it has"
        );
    }
}

#[test]
fn large_readers_go_past_the_buffer() {
    let mut cx = Context::from_waker(Waker::noop());
    let mut ahead = reading_ahead(script(&[vec![7; 100]], &[], false));
    let mut space = vec![0; READ_AHEAD];
    let mut buf = ReadBuf::new(&mut space);
    assert!(Pin::new(&mut ahead).poll_read(&mut cx, &mut buf).is_ready());
    assert_eq!(buf.filled().len(), 100);
    assert_eq!(ahead.buffer.capacity(), 0);
}
