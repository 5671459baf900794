//! Tasks that clouds with asynchronous calls let their callers ask about, by the request's id: still
//! running, done or failed.

use std::collections::BTreeMap;

use terway_types::{EniId, InstanceId, Timestamp};

use super::World;
use super::eni::{Eni, Status};

/// What a task is to bring about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The ENI can be used.
    Created,
    /// It is on that instance.
    Attached(InstanceId),
    /// It is on none.
    Detached,
    /// It is gone.
    Deleted,
    /// Its addresses are as they were asked for.
    Addressed,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not there yet.
    Running,
    /// Done.
    Success,
    /// It did not come about.
    Failed,
}

/// The tasks that were started, by request id.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    all: BTreeMap<String, Task>,
    /// The last one of each ENI.
    latest: BTreeMap<EniId, String>,
}

#[derive(Clone, Debug)]
struct Task {
    eni: EniId,
    goal: Goal,
    /// How it ended, once it has.
    ended: Option<Progress>,
}

impl World {
    /// Notes that a request has started a task on an ENI.
    pub fn start_task(&mut self, request: &str, eni: &EniId, goal: Goal, now: Timestamp) {
        self.settle_task(eni, now);
        self.tasks.latest.insert(eni.clone(), request.to_owned());
        self.tasks.all.insert(request.to_owned(), Task { eni: eni.clone(), goal, ended: None });
    }

    /// Keeps how the last task on an ENI ended, before the next change makes it look otherwise.
    pub(super) fn settle_task(&mut self, eni: &EniId, now: Timestamp) {
        let Some(request) = self.tasks.latest.get(eni).cloned() else { return };
        let ended = self.task(&request, now).filter(|progress| *progress != Progress::Running);
        if let Some(task) = self.tasks.all.get_mut(&request) {
            task.ended = ended;
        }
    }

    /// How far the task of a request is; `None`: it started none.
    pub fn task(&self, request: &str, now: Timestamp) -> Option<Progress> {
        let task = self.tasks.all.get(request)?;
        Some(task.ended.unwrap_or_else(|| progress(self.enis.get(&task.eni), &task.goal, now)))
    }
}

fn progress(eni: Option<&Eni>, goal: &Goal, now: Timestamp) -> Progress {
    let Some(eni) = eni else {
        return if *goal == Goal::Deleted { Progress::Success } else { Progress::Failed };
    };
    let (running, there) = match goal {
        Goal::Created => (eni.status == Status::Creating, true),
        Goal::Attached(instance) => {
            (eni.status == Status::Attaching, eni.status == Status::InUse && eni.instance() == Some(instance))
        }
        Goal::Detached => (eni.status == Status::Detaching, eni.status == Status::Available),
        Goal::Deleted => (eni.status == Status::Deleting, false),
        Goal::Addressed => (eni.is_busy(now), true),
    };
    match (running, there) {
        (true, _) => Progress::Running,
        (false, true) => Progress::Success,
        (false, false) => Progress::Failed,
    }
}
