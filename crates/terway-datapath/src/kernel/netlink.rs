//! The blocking rtnetlink client of one namespace: batches of changes here, reads in `dump`.

use netlink_sys::protocols::NETLINK_ROUTE;

use super::error::{Cause, KernelError};
use super::namespace::Netns;
use super::request::Request;
use super::transport::Transport;

/// How many requests travel in one send. The answers to so many fit any receive buffer.
const BATCH: usize = 128;

/// A connection to the routing subsystem of one network namespace.
#[derive(Debug)]
pub struct Netlink {
    pub(super) transport: Transport,
}

impl Netlink {
    /// Connects to a namespace. Nobody needs to stay inside it.
    pub fn open(netns: &Netns) -> Result<Self, KernelError> {
        Self::over(Transport::open(NETLINK_ROUTE, netns))
    }

    /// Connects to the calling thread's namespace.
    pub fn here() -> Result<Self, KernelError> {
        Self::over(Transport::here(NETLINK_ROUTE).map_err(Cause::Socket))
    }

    fn over(transport: Result<Transport, Cause>) -> Result<Self, KernelError> {
        let failed = |cause: Cause| KernelError::new("open an rtnetlink socket", cause);
        let transport = transport.map_err(failed)?;
        transport.check_strictly().map_err(|error| failed(Cause::Socket(error)))?;
        Ok(Self { transport })
    }

    /// Has the kernel do all requests, in order, and reports the first one it refused. A refusal does not keep
    /// the kernel from doing the requests after it.
    pub fn transact(&mut self, requests: &[Request]) -> Result<(), KernelError> {
        self.transact_each(requests).into_iter().collect()
    }

    /// Has the kernel do all requests about what somebody may have taken away meanwhile: that it is not there is no
    /// failure. Says how many were done, or the first other refusal.
    pub fn transact_if_present(&mut self, requests: &[Request]) -> Result<usize, KernelError> {
        let mut done = 0;
        let mut refused = None;
        for outcome in self.transact_each(requests) {
            match outcome {
                Ok(()) => done += 1,
                Err(error) if error.is_absent() => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(done), Err)
    }

    /// Has the kernel do all requests, in order, and reports on each.
    pub fn transact_each(&mut self, requests: &[Request]) -> Vec<Result<(), KernelError>> {
        requests.chunks(BATCH).flat_map(|batch| self.batch(batch)).collect()
    }

    fn batch(&mut self, requests: &[Request]) -> Vec<Result<(), KernelError>> {
        let frames = requests.iter().map(|request| &request.frame);
        let answers = match self.transport.exchange(frames, |_| {}) {
            Ok(answers) => answers,
            Err(error) => {
                // What was done is unknown; each request is told so.
                let again = || std::io::Error::new(error.kind(), error.to_string());
                let failed = |request: &Request| Err(request.failed(Cause::Socket(again())));
                return requests.iter().map(failed).collect();
            }
        };
        let verdict = |(request, answer): (&Request, _)| match answer {
            Some(Ok(())) => Ok(()),
            Some(Err(refusal)) => Err(request.failed(Cause::Refused(refusal))),
            None => Err(request.failed(Cause::Unanswered)),
        };
        requests.iter().zip(answers).map(verdict).collect()
    }
}
