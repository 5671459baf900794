//! One connection: frames out and in under a deadline, flow control, and the call itself.
//!
//! Invariant: the peer is told of windows so large that it never waits for this side; what this side sends waits for
//! the peer's. A call given up is cancelled, and frames that still come for it are passed over, but header blocks are
//! read all the same: they change the table of all that follow. A frame that stopped half way, in or out, ends the
//! connection: nobody knows any more where the next one begins.

use std::io::{self, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use crate::CallError;
use crate::answer::Answer;
use crate::frame::{self, Frame};
use crate::hpack::{self, Table};

/// The window of a stream or connection nobody has agreed on (RFC 9113, section 6.9.2).
const USUAL_WINDOW: u32 = 65_535;
/// The largest there is.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// The longest header block taken.
const LONGEST_BLOCK: usize = 64 << 10;

// Settings (RFC 9113, section 6.5.2).
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

// Places in the static table of header compression.
const AUTHORITY: usize = 1;
const METHOD_POST: usize = 3;
const PATH: usize = 4;
const SCHEME_HTTP: usize = 6;
const CONTENT_TYPE: usize = 31;

/// Which message is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The only one of a unary call.
    Only,
    /// The first one of a stream, whose rest is cancelled.
    First,
}

/// A connection to a gRPC server.
#[derive(Debug)]
pub struct Connection {
    socket: BufReader<UnixStream>,
    /// Bytes to be sent before the next wait.
    outbox: Vec<u8>,
    table: Table,
    /// The number of the latest call's stream; a client's are odd.
    stream: u32,
    /// How much the peer takes now, over all streams.
    window: i64,
    /// How much it takes of a new stream.
    initial_window: i64,
    longest_frame: usize,
    /// Set while a frame is half read or half sent.
    halved: bool,
}

/// A call under way.
struct Call {
    window: i64,
    answer: Answer,
    /// Set when the peer has said all.
    ended: bool,
}

impl Connection {
    /// Connects to a socket; waits at most `patience` for a server whose queue is full. Nothing is sent yet.
    pub fn open(path: &Path, patience: Duration) -> io::Result<Self> {
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::SendTimeout, &time_val(patience))?;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        let mut outbox = frame::PREFACE.to_vec();
        let mut settings = Vec::new();
        for (id, value) in [(ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, LARGEST_WINDOW)] {
            settings.extend(id.to_be_bytes());
            settings.extend(u32::to_be_bytes(value));
        }
        frame::push(&mut outbox, frame::SETTINGS, 0, 0, &settings);
        let more = LARGEST_WINDOW - USUAL_WINDOW;
        frame::push(&mut outbox, frame::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        Ok(Self {
            socket: BufReader::new(fd.into()),
            outbox,
            table: Table::default(),
            stream: 0,
            window: USUAL_WINDOW.into(),
            initial_window: USUAL_WINDOW.into(),
            longest_frame: frame::LONGEST,
            halved: false,
        })
    }

    /// Whether the server has not closed its end, as far as is known without waiting.
    pub fn is_open(&self) -> bool {
        let mut end = [PollFd::new(self.socket.get_ref().as_fd(), PollFlags::empty())];
        let closed = PollFlags::POLLHUP | PollFlags::POLLERR;
        poll(&mut end, PollTimeout::ZERO).is_ok()
            && !end[0].revents().is_some_and(|seen| seen.intersects(closed))
    }

    /// Calls a method, `/package.Service/Method`, and waits for its answer until the deadline, which the server is told.
    pub fn call(
        &mut self,
        method: &str,
        message: &[u8],
        take: Take,
        deadline: Instant,
    ) -> Result<Vec<u8>, CallError> {
        self.call_meanwhile(method, message, take, deadline, || ())
    }

    /// The same; does other work once the request is on its way.
    pub fn call_meanwhile(
        &mut self,
        method: &str,
        message: &[u8],
        take: Take,
        deadline: Instant,
        meanwhile: impl FnOnce(),
    ) -> Result<Vec<u8>, CallError> {
        if self.halved {
            return Err(broken("an earlier call ended in the middle of a frame"));
        }
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        let mut call = Call { window: self.initial_window, answer: Answer::new(take), ended: false };
        let outcome = self.exchange(&mut call, method, message, deadline, meanwhile);
        match outcome {
            Ok(Some(early)) => {
                self.cancel();
                Ok(early)
            }
            Ok(None) => call.answer.end(),
            Err(error) => {
                if matches!(error, CallError::TimedOut) && !self.halved {
                    self.cancel();
                }
                Err(error)
            }
        }
    }

    /// Sends the request and takes what comes until there is an answer, which may be before all is sent.
    fn exchange(
        &mut self,
        call: &mut Call,
        method: &str,
        message: &[u8],
        deadline: Instant,
        meanwhile: impl FnOnce(),
    ) -> Result<Option<Vec<u8>>, CallError> {
        let headers = request_headers(method, deadline.saturating_duration_since(Instant::now()));
        frame::push(&mut self.outbox, frame::HEADERS, frame::END_HEADERS, self.stream, &headers);
        let length = u32::try_from(message.len()).map_err(|_| CallError::Protocol("a request of 4 GiB"))?;
        let mut body = vec![0];
        body.extend(length.to_be_bytes());
        body.extend(message);
        let (mut unsent, mut meanwhile) = (body.as_slice(), Some(meanwhile));
        loop {
            unsent = self.push_body(call, unsent);
            self.flush(deadline)?;
            if let Some(work) = meanwhile.take() {
                // The server may have been woken on this very processor, and would begin when the work is done.
                thread::yield_now();
                work();
            }
            let frame = self.receive(deadline)?;
            self.take(&frame, call, deadline)?;
            if let Some(early) = call.answer.early() {
                return Ok(Some(early));
            }
            if call.ended {
                return Ok(None);
            }
        }
    }

    /// Queues as much of the body as the peer takes now; gives the rest.
    fn push_body<'b>(&mut self, call: &mut Call, mut body: &'b [u8]) -> &'b [u8] {
        while !body.is_empty() {
            let room = usize::try_from(self.window.min(call.window)).unwrap_or(0);
            let (part, rest) = body.split_at(body.len().min(room).min(self.longest_frame));
            if part.is_empty() {
                break;
            }
            let flags = if rest.is_empty() { frame::END_STREAM } else { 0 };
            frame::push(&mut self.outbox, frame::DATA, flags, self.stream, part);
            let taken = i64::try_from(part.len()).unwrap_or(i64::MAX);
            self.window -= taken;
            call.window -= taken;
            body = rest;
        }
        body
    }

    /// Acts on a frame.
    fn take(&mut self, frame: &Frame, call: &mut Call, deadline: Instant) -> Result<(), CallError> {
        let own = frame.stream == self.stream;
        match frame.kind {
            frame::HEADERS => {
                let end = frame.has(frame::END_STREAM);
                let fields = self.header_block(frame, deadline)?;
                if own {
                    call.answer.headers(&fields);
                    call.ended = end;
                }
            }
            frame::DATA if own => {
                let part = frame.content().ok_or(CallError::Protocol("a DATA frame of padding alone"))?;
                call.answer.data(part)?;
                call.ended = frame.has(frame::END_STREAM);
            }
            frame::RST_STREAM if own => return Err(broken("the server gave up the call")),
            frame::PUSH_PROMISE => return Err(CallError::Protocol("a push, which was declined")),
            frame::SETTINGS if !frame.has(frame::ACK) => self.agree(&frame.payload, call),
            frame::PING if !frame.has(frame::ACK) => {
                frame::push(&mut self.outbox, frame::PING, frame::ACK, 0, &frame.payload);
            }
            frame::GOAWAY => {
                let last = frame::number(&frame.payload).unwrap_or(0);
                if last < self.stream {
                    return Err(broken("the server is going away"));
                }
            }
            frame::WINDOW_UPDATE => {
                let more = i64::from(frame::number(&frame.payload).unwrap_or(0));
                if frame.stream == 0 {
                    self.window += more;
                } else if own {
                    call.window += more;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads a header block, which may go on in further frames with nothing between them.
    fn header_block(&mut self, first: &Frame, deadline: Instant) -> Result<Vec<hpack::Field>, CallError> {
        let stream = first.stream;
        let mut block =
            first.content().ok_or(CallError::Protocol("a HEADERS frame of padding alone"))?.to_vec();
        let mut last = first.has(frame::END_HEADERS);
        while !last {
            let next = self.receive(deadline)?;
            if next.kind != frame::CONTINUATION || next.stream != stream || block.len() > LONGEST_BLOCK {
                return Err(CallError::Protocol("a header block that does not go on"));
            }
            block.extend(&next.payload);
            last = next.has(frame::END_HEADERS);
        }
        hpack::read(&mut self.table, &block).map_err(|_| CallError::Protocol("a header block that is none"))
    }

    /// Takes the peer's settings. A new size of windows holds for the streams there are, too.
    fn agree(&mut self, payload: &[u8], call: &mut Call) {
        for (id, value) in frame::settings(payload) {
            match id {
                INITIAL_WINDOW_SIZE => {
                    let change = i64::from(value) - self.initial_window;
                    self.initial_window += change;
                    call.window += change;
                }
                MAX_FRAME_SIZE => self.longest_frame = (value as usize).min(frame::LONGEST),
                _ => {}
            }
        }
        frame::push(&mut self.outbox, frame::SETTINGS, frame::ACK, 0, &[]);
    }

    /// Tells the server, when something is sent next or now if that takes no waiting, that nobody waits any more.
    fn cancel(&mut self) {
        frame::push(&mut self.outbox, frame::RST_STREAM, 0, self.stream, &frame::CANCEL.to_be_bytes());
        // Whether it hears of it changes nothing on this side.
        let _ = self.flush(Instant::now() + Duration::from_millis(1));
    }

    fn flush(&mut self, deadline: Instant) -> Result<(), CallError> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let socket = self.socket.get_mut();
        socket.set_write_timeout(Some(left(deadline)?)).map_err(CallError::Broken)?;
        let bytes = std::mem::take(&mut self.outbox);
        self.halved = true;
        socket.write_all(&bytes).map_err(failed)?;
        self.halved = false;
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> Result<Frame, CallError> {
        let mut header = [0; frame::HEADER];
        self.fill(&mut header, deadline)?;
        let (length, mut frame) = Frame::announced(header);
        if length > frame::LONGEST {
            return Err(CallError::Protocol("a frame longer than allowed"));
        }
        frame.payload.resize(length, 0);
        self.fill(&mut frame.payload, deadline)?;
        self.halved = false;
        Ok(frame)
    }

    fn fill(&mut self, mut rest: &mut [u8], deadline: Instant) -> Result<(), CallError> {
        while !rest.is_empty() {
            if self.socket.buffer().is_empty() {
                let socket = self.socket.get_ref();
                socket.set_read_timeout(Some(left(deadline)?)).map_err(CallError::Broken)?;
            }
            match self.socket.read(rest) {
                Ok(0) => return Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.halved = true;
                    rest = rest.get_mut(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

fn request_headers(method: &str, patience: Duration) -> Vec<u8> {
    let mut block = Vec::new();
    hpack::push_known(&mut block, METHOD_POST);
    hpack::push_known(&mut block, SCHEME_HTTP);
    hpack::push_named(&mut block, PATH, method);
    hpack::push_named(&mut block, AUTHORITY, "localhost");
    hpack::push_named(&mut block, CONTENT_TYPE, "application/grpc");
    hpack::push_spelled(&mut block, "te", "trailers");
    // At most eight digits are allowed: a day and three hours.
    let milliseconds = patience.as_millis().clamp(1, 99_999_999);
    hpack::push_spelled(&mut block, "grpc-timeout", &format!("{milliseconds}m"));
    block
}

fn left(deadline: Instant) -> Result<Duration, CallError> {
    // A timeout of zero would mean none; one of less than a microsecond is rounded down to it.
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(CallError::TimedOut) } else { Ok(left.max(Duration::from_micros(1))) }
}

fn time_val(patience: Duration) -> TimeVal {
    let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
    TimeVal::new(seconds, patience.subsec_micros().max(1).into())
}

fn failed(error: io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CallError::TimedOut,
        _ => CallError::Broken(error),
    }
}

fn broken(what: &'static str) -> CallError {
    CallError::Broken(io::Error::new(io::ErrorKind::ConnectionAborted, what))
}
