//! The fault catalogue: every failure a person can meet, with its stable name, the CNI error code it
//! travels under, whether trying again can help, and what to do about it.
//!
//! A fault's text never contains the words "not found": runtimes take a DEL error with them for success.

use std::fmt;

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Later, without anybody changing anything.
    Later,
    /// Only after somebody mends the cause.
    AfterMending,
}

macro_rules! catalogue {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $cni:literal, $retry:ident, $remedy:literal;)*) => {
        /// The stable identity of a failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum FaultCode {
            $($(#[$doc])* $variant,)*
        }

        impl FaultCode {
            /// Every code, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name people search for.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The CNI error code: 1 to 11 as the specification lists them, 50 for STATUS, 100 and up ours.
            pub fn cni_code(self) -> u32 {
                match self { $(Self::$variant => $cni,)* }
            }

            /// Whether the same request may succeed later.
            pub fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)* }
            }

            /// What to do about it, unless the fault knows better.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

catalogue! {
    /// The CNI version is none of ours.
    CniVersion = "cni-version", 1, AfterMending, "use one of the supported versions in the network configuration";
    /// A field is not supported.
    CniField = "cni-field", 2, AfterMending, "remove the field from the network configuration";
    /// An environment variable is missing or malformed.
    CniEnvironment = "cni-environment", 4, AfterMending, "call the plugin through a CNI runtime, which sets these variables";
    /// Standard input could not be read.
    CniInput = "cni-input", 5, Later, "see the cause; the runtime closed the pipe early";
    /// Standard input is not the JSON it should be.
    CniDecode = "cni-decode", 6, AfterMending, "mend the network configuration at the place named";
    /// The network configuration says something impossible.
    ConfigInvalid = "config-invalid", 7, AfterMending, "mend the key named";
    /// GC without a list of valid attachments.
    GcUnbounded = "gc-unbounded", 7, AfterMending, "send cni.dev/valid-attachments, an empty list if none is valid";
    /// The network namespace is unusable.
    NetnsInvalid = "netns-invalid", 8, AfterMending, "give the path of the pod's own network namespace";
    /// The daemon does not answer.
    DaemonUnreachable = "daemon-unreachable", 11, Later, "check that terwayd runs on this node and that its socket is readable";
    /// The daemon is of a version that lacks the method called.
    DaemonOutdated = "daemon-outdated", 104, AfterMending, "update terwayd on this node to the version of the caller";
    /// The daemon has not finished starting.
    DaemonStarting = "daemon-starting", 11, Later, "wait; see the daemon's log if it lasts";
    /// Another operation on the same attachment is running.
    AttachmentBusy = "attachment-busy", 11, Later, "none needed; the runtime tries again";
    /// No ENI became free in time.
    PoolExhausted = "pool-exhausted", 11, Later, "delete pods, raise max_pool_size, or use a larger instance type";
    /// The claim's ENI is held by another attachment, or cannot be had.
    ClaimUnusable = "claim-unusable", 11, Later, "see the cause; delete the other pod of the claim, or mend the claim";
    /// The node is being taken out of service.
    NodeRetiring = "node-retiring", 100, AfterMending, "run the pod on another node";
    /// A cloud quota is used up.
    QuotaReached = "quota-reached", 11, Later, "raise the quota named, or use a larger instance type";
    /// The vSwitches have no free address.
    SubnetExhausted = "subnet-exhausted", 11, Later, "add a vSwitch with free addresses for this zone to `vswitches`";
    /// The cloud refuses for lack of permission.
    CloudDenied = "cloud-denied", 100, AfterMending, "grant the action named to the node's role or key";
    /// The node's clock is wrong.
    ClockSkew = "clock-skew", 100, AfterMending, "set the node's clock; the cloud accepts 15 minutes of difference";
    /// The cloud does not take a parameter.
    CloudInvalid = "cloud-invalid", 100, AfterMending, "mend the configuration value named";
    /// The cloud fails in a way that may pass.
    CloudUnavailable = "cloud-unavailable", 11, Later, "try again later, as the daemon does; if it lasts, check that this node reaches the address named";
    /// The ENI's netdev is not on the node.
    NicMissing = "nic-missing", 11, Later, "check that the ENI is attached to this instance and that its driver is loaded";
    /// More than one NIC has the MAC.
    NicAmbiguous = "nic-ambiguous", 101, AfterMending, "remove the link that copies the ENI's MAC address";
    /// The pod asks for eRDMA, and its ENI has no device for it that a pod could use.
    RdmaUnusable = "rdma-unusable", 11, Later, "check that the driver is loaded (`modprobe erdma`) and that `rdma link` shows the ENI's device";
    /// The interface name is taken in the pod.
    InterfaceExists = "interface-exists", 101, AfterMending, "delete the sandbox; its namespace was used before";
    /// The plan cannot be laid out.
    PlanInvalid = "plan-invalid", 101, AfterMending, "mend the value named";
    /// The kernel refused a change.
    KernelRefused = "kernel-refused", 102, Later, "see the cause; check kernel version, modules and privileges";
    /// The kernel state differs from what the attachment needs.
    Drift = "drift", 103, AfterMending, "recreate the pod";
    /// The attachment is unknown.
    AttachmentUnknown = "attachment-unknown", 103, AfterMending, "recreate the pod";
    /// The state directory cannot be written.
    StateUnwritable = "state-unwritable", 104, AfterMending, "give terwayd a writable --state-dir";
    /// The state directory's file system is full.
    StateFull = "state-full", 11, Later, "free space on the file system of --state-dir";
    /// The ledger was written by a newer version.
    LedgerTooNew = "ledger-too-new", 104, AfterMending, "run the version that wrote it or a newer one";
    /// The ledger cannot be read.
    LedgerCorrupt = "ledger-corrupt", 104, AfterMending, "run `terwayd recover` with the flags of terwayd; it makes a new ledger from cloud and kernel";
    /// A program could not be put into its place.
    NotInstalled = "not-installed", 104, AfterMending, "check that --from names a program that can be read, and --to a folder that is there, can be written and has space";
    /// STATUS: no ADD can be served.
    NotReady = "not-ready", 50, Later, "see the cause";
    /// A defect of ours.
    Internal = "internal", 999, AfterMending, "report it with the daemon's log";
}

impl FaultCode {
    /// The code with this stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

/// One failure as a person meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its identity.
    pub code: FaultCode,
    /// What failed, with the objects and numbers involved; a fragment without full stop.
    pub what: String,
    /// Why, as far as known; empty if `what` says it all.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

impl Fault {
    /// A fault with the catalogue's remedy and no further cause.
    pub fn new(code: FaultCode, what: impl Into<String>) -> Self {
        Self { code, what: speakable(what.into()), cause: String::new(), remedy: code.remedy().to_owned() }
    }

    /// Adds the chain of causes of an error, outermost first.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        self.cause = speakable(chain(error));
        self
    }

    /// Adds a cause as text.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = speakable(cause.into());
        self
    }

    /// Replaces the catalogue's remedy by a better one.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = speakable(remedy.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.what)?;
        if !self.cause.is_empty() {
            write!(f, ": {}", self.cause)?;
        }
        write!(f, " (remedy: {})", self.remedy)
    }
}

impl std::error::Error for Fault {}

/// Takes the words out of a text that runtimes read as success of a DEL (containerd's go-cni, `Remove`).
/// Causes quote vendors, kernels and other daemons, so they have to pass here.
fn speakable(text: String) -> String {
    if text.contains("not found") { text.replace("not found", "missing") } else { text }
}

/// An error and its sources in one line, outermost first.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for code in FaultCode::ALL {
            assert_eq!(FaultCode::from_name(code.name()), Some(*code));
        }
    }

    #[test]
    fn no_fault_says_not_found() {
        for code in FaultCode::ALL {
            let text = Fault::new(*code, "x").to_string();
            assert!(!text.contains("not found"), "{text}");
        }
        let quoting = Fault::new(FaultCode::CloudUnavailable, "pod not found")
            .because("eni not found, or not found yet")
            .remedy("see why it was not found");
        assert!(!quoting.to_string().contains("not found"), "{quoting}");
        assert_eq!(quoting.cause, "eni missing, or missing yet");
    }

    #[test]
    fn a_fault_says_code_what_cause_and_remedy() {
        let fault = Fault::new(FaultCode::QuotaReached, "cannot bind an 8th ENI").because("limit 7");
        let text = fault.to_string();
        assert_eq!(
            text,
            "quota-reached: cannot bind an 8th ENI: limit 7 (remedy: raise the quota named, or use a larger instance type)"
        );
    }
}
