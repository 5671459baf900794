//! Requests about traffic control: the token bucket at the root, and the way from a link's ingress to an ifb.

use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirror, TcActionMirrorOption, TcActionOption, TcActionType,
    TcAttribute, TcFilterU32, TcFilterU32Option, TcHandle, TcHeader, TcMessage, TcMirror, TcMirrorActionType,
    TcOption, TcU32Key, TcU32Selector, TcU32SelectorFlags,
};

use super::{ADD, REPLACE, Request};
use crate::kernel::tbf::Tbf;

/// The handle of the root qdisc we install: `1:`.
const OUR_ROOT: TcHandle = TcHandle { major: 1, minor: 0 };
const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: TcHandle::MIN_INGRESS };
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
