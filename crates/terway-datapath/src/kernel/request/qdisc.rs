//! Requests about traffic control: how packets wait (a token bucket, fair queueing, classes, a queue for each of a
//! NIC's), and the way from a link's ingress to an ifb.

use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirror, TcActionMirrorOption, TcActionOption, TcActionType,
    TcAttribute, TcFilterU32, TcFilterU32Option, TcHandle, TcHeader, TcMessage, TcMirror, TcMirrorActionType,
    TcOption, TcU32Key, TcU32Selector, TcU32SelectorFlags,
};

use super::{ADD, REPLACE, Request};
use crate::kernel::objects::Qdisc;
use crate::kernel::support::QdiscKind;
use crate::kernel::tbf::Tbf;

/// The handle of the root qdisc we install: `1:`.
const OUR_ROOT: TcHandle = TcHandle { major: 1, minor: 0 };
const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: TcHandle::MIN_INGRESS };
const TCA_OPTIONS: u16 = 2;
/// A number of four bytes.
const TCA_FQ_PLIMIT: u16 = 1;
/// `struct tc_prio_qopt`: three classes, and which of them a packet's type of service leads to; the kernel's own default.
const PRIO: [u8; 20] = {
    let [a, b, c, d] = 3_u32.to_ne_bytes();
    [a, b, c, d, 1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
};
/// Every namespace has it under this index.
const LOOPBACK: u32 = 1;
/// A handle that nothing has.
const PROBE: TcHandle = TcHandle { major: 0x7ffe, minor: 0 };
/// Priority 1 (upper half) and `ETH_P_ALL` in network byte order (lower half).
const EVERY_PACKET: u32 = 1 << 16 | (0x0003_u16.to_be() as u32);

impl Request {
    /// Makes a token bucket filter the root qdisc of a link, whatever is there now.
    pub fn replace_tbf(index: u32, tbf: &Tbf) -> Self {
        let mut message = message(index, TcHandle::ROOT, OUR_ROOT, "tbf");
        let options =
            tbf.encode().into_iter().map(|(kind, value)| TcOption::Other(DefaultNla::new(kind, value)));
        message.attributes.push(TcAttribute::Options(options.collect()));
        let what = format!("limit link #{index} to {} bytes per second", tbf.rate);
        Self::new(what, REPLACE, &RouteNetlinkMessage::NewQueueDiscipline(message))
    }

    /// Makes fair queueing the root qdisc of a link, whatever is there now: it sends packets when they say they may
    /// leave.
    pub fn replace_fq(index: u32) -> Self {
        let mut message = message(index, TcHandle::ROOT, OUR_ROOT, "fq");
        message.attributes.push(TcAttribute::Options(Vec::new()));
        let what = format!("pace link #{index}");
        Self::new(what, REPLACE, &RouteNetlinkMessage::NewQueueDiscipline(message))
    }

    /// The same below another qdisc, in the class `parent`, or at the root ([`Qdisc::ROOT`]); the kernel chooses the handle.
    pub fn replace_fq_at(index: u32, parent: u32) -> Self {
        let mut message = message(index, parent.into(), TcHandle::UNSPEC, "fq");
        message.attributes.push(TcAttribute::Options(Vec::new()));
        let what = format!("pace what waits in class {} of link #{index}", class(parent));
        Self::new(what, REPLACE, &RouteNetlinkMessage::NewQueueDiscipline(message))
    }

    /// Makes the root of a link with several queues a qdisc with a class for each, under this handle.
    pub fn replace_mq(index: u32, handle: u32) -> Self {
        let message = message(index, TcHandle::ROOT, handle.into(), "mq");
        let what = format!("give each queue of link #{index} a class");
        Self::new(what, REPLACE, &RouteNetlinkMessage::NewQueueDiscipline(message))
    }

    /// Has what waits in the class `parent` (or at the root) wait in three classes, of which the first goes first. Packets
    /// that no filter puts anywhere go by their type of service.
    pub fn replace_prio(index: u32, parent: u32, handle: u32) -> Self {
        let what = format!("have what waits in class {} of link #{index} wait by classes", class(parent));
        Self::prio(what, index, parent.into(), handle.into(), &PRIO)
    }

    /// Asks for a qdisc that no kernel makes, in a way that tells whether it knows the kind: it is looked for before its
    /// parameters are. Nothing comes of it either way.
    pub(crate) fn probe_qdisc(kind: QdiscKind) -> Self {
        let what = format!("ask for qdisc {}", kind.name());
        match kind {
            // One class is less than there may be.
            QdiscKind::Prio => Self::prio(what, LOOPBACK, TcHandle::ROOT, PROBE, &[1; 20]),
            QdiscKind::Fq => {
                let mut message = message(LOOPBACK, TcHandle::ROOT, PROBE, "fq");
                let limit = DefaultNla::new(TCA_FQ_PLIMIT, vec![1]);
                message.attributes.push(TcAttribute::Options(vec![TcOption::Other(limit)]));
                Self::new(what, REPLACE, &RouteNetlinkMessage::NewQueueDiscipline(message))
            }
        }
    }

    fn prio(what: String, index: u32, parent: TcHandle, handle: TcHandle, parameters: &[u8]) -> Self {
        let mut message = message(index, parent, handle, "prio");
        // Behind them `tc` has a nest for newer ones, of which there are none.
        let parameters = [parameters, &[4, 0, 2, 0]].concat();
        message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, parameters)));
        Self::new(what, REPLACE, &RouteNetlinkMessage::NewQueueDiscipline(message))
    }

    /// Deletes the root qdisc of a link; the kernel puts its default one there.
    pub fn delete_root_qdisc(index: u32) -> Self {
        let mut message = TcMessage::default();
        message.header = header(index, TcHandle::ROOT, TcHandle::UNSPEC);
        let what = format!("delete the root qdisc of link #{index}");
        Self::new(what, 0, &RouteNetlinkMessage::DelQueueDiscipline(message))
    }

    /// Gives a link the qdisc that filters at its ingress and egress hang on.
    pub fn add_clsact(index: u32) -> Self {
        let message = message(index, TcHandle::CLSACT, CLSACT, "clsact");
        Self::new(
            format!("add clsact to link #{index}"),
            ADD,
            &RouteNetlinkMessage::NewQueueDiscipline(message),
        )
    }

    /// The same, which a link that has it keeps.
    pub fn ensure_clsact(index: u32) -> Self {
        let message = message(index, TcHandle::CLSACT, CLSACT, "clsact");
        let what = format!("give link #{index} a clsact");
        Self::new(what, REPLACE, &RouteNetlinkMessage::NewQueueDiscipline(message))
    }

    /// Takes clsact (or its older kin, ingress) away, and with it every filter on it.
    pub fn delete_clsact(index: u32) -> Self {
        // Without handle and kind: where there is none, the kernel then says so (ENOENT) and does not complain
        // that its placeholder has another handle (EINVAL).
        let mut message = TcMessage::default();
        message.header = header(index, TcHandle::CLSACT, TcHandle::UNSPEC);
        let what = format!("delete clsact of link #{index}");
        Self::new(what, 0, &RouteNetlinkMessage::DelQueueDiscipline(message))
    }

    /// Sends every packet that arrives on a link to another one's egress. The link needs clsact. A u32 filter
    /// with a key that always matches: every kernel with traffic control has it, not every one has matchall.
    pub fn redirect_ingress(index: u32, target: u32) -> Self {
        let mut message = message(index, INGRESS, TcHandle::UNSPEC, TcFilterU32::KIND);
        message.header.info = EVERY_PACKET;
        let mut selector = TcU32Selector::default();
        selector.flags = TcU32SelectorFlags::Terminal;
        selector.nkeys = 1;
        selector.keys = vec![TcU32Key::default()];
        let options =
            [TcFilterU32Option::Selector(selector), TcFilterU32Option::Action(vec![redirect(target)])];
        message.attributes.push(TcAttribute::Options(options.map(TcOption::U32).into()));
        let what = format!("redirect ingress of link #{index} to link #{target}");
        Self::new(what, ADD, &RouteNetlinkMessage::NewTrafficFilter(message))
    }
}

fn class(parent: u32) -> String {
    if parent == Qdisc::ROOT {
        "root".to_owned()
    } else {
        format!("{:x}:{:x}", parent >> 16, parent & 0xffff)
    }
}

fn redirect(target: u32) -> TcAction {
    let mut mirror = TcMirror::default();
    mirror.generic.action = TcActionType::Stolen;
    mirror.eaction = TcMirrorActionType::EgressRedir;
    mirror.ifindex = target;
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind(TcActionMirror::KIND.to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))]),
    ];
    action
}

fn message(index: u32, parent: TcHandle, handle: TcHandle, kind: &str) -> TcMessage {
    let mut message = TcMessage::default();
    message.header = header(index, parent, handle);
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    message
}

fn header(index: u32, parent: TcHandle, handle: TcHandle) -> TcHeader {
    TcHeader { index: index.cast_signed(), parent, handle, ..TcHeader::default() }
}
