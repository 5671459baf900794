//! The VPC at a glance, for a person: the same tables as a web page and as text.

use std::fmt::Write as _;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use terway_types::{InstanceId, SecurityGroupId, Timestamp};

use crate::live::Records;
use crate::model::{Eni, World};

/// A heading, column names, rows.
struct Table {
    title: String,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// The page as the caller likes it: HTML for browsers, text for everybody else.
pub(super) fn render(records: &Records, headers: &HeaderMap, now: Timestamp) -> Response {
    let tables = tables(records, now);
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, body) = if accepts.contains("text/plain") {
        ("text/plain; charset=utf-8", text(&tables))
    } else {
        ("text/html; charset=utf-8", html(&tables))
    };
    (StatusCode::OK, [(header::CONTENT_TYPE, kind)], body).into_response()
}

fn tables(records: &Records, now: Timestamp) -> Vec<Table> {
    let world = &records.world;
    let config = world.config();
    let enis: Vec<&Eni> = world.enis().collect();
    let title = format!("VPC {} in {}", config.vpc.id, config.region);
    let vswitches = world.vswitches().map(|vswitch| {
        let held = enis.iter().filter(|eni| eni.vswitch == vswitch.id).count();
        let cidr = vswitch.subnets.v4.map(|cidr| cidr.to_string()).unwrap_or_default();
        vec![
            vswitch.id.to_string(),
            vswitch.zone.clone(),
            cidr,
            vswitch.free_ipv4().to_string(),
            held.to_string(),
        ]
    });
    let vswitches =
        Table { title, columns: &["vSwitch", "zone", "IPv4", "free", "ENIs"], rows: vswitches.collect() };
    vec![vswitches, nodes(world), eni_table(&enis), calls(records), troubles(records, now)]
}

fn nodes(world: &World) -> Table {
    let rows = world.instances().map(|instance| {
        let kind = &instance.instance_type;
        let enis = world.enis_of(&instance.id);
        let addresses: usize = enis.iter().map(|eni| eni.addresses.ipv4.len()).sum();
        vec![
            instance.id.to_string(),
            kind.id.clone(),
            instance.zone.clone(),
            format!("{}/{}", enis.iter().filter(|eni| eni.trunk().is_none()).count(), kind.enis),
            addresses.to_string(),
        ]
    });
    let columns = &["node", "type", "zone", "ENIs", "IPv4 addresses"];
    Table { title: "Nodes".to_owned(), columns, rows: rows.collect() }
}

fn eni_table(enis: &[&Eni]) -> Table {
    let rows = enis.iter().map(|eni| {
        let set = &eni.addresses;
        let addresses: Vec<String> = set
            .singles()
            .map(|address| address.to_string())
            .chain(set.prefixes.iter().map(ToString::to_string))
            .collect();
        let tags: Vec<String> = eni.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let groups: Vec<&str> = eni.security_groups.iter().map(SecurityGroupId::as_str).collect();
        vec![
            eni.id.to_string(),
            eni.kind.name().to_owned(),
            eni.status.name().to_owned(),
            eni.instance().map(InstanceId::to_string).unwrap_or_default(),
            eni.mac.to_string(),
            addresses.join(" "),
            groups.join(" "),
            tags.join(" "),
        ]
    });
    let columns = &["ENI", "type", "status", "held by", "MAC", "addresses", "groups", "tags"];
    Table { title: format!("ENIs ({})", enis.len()), columns, rows: rows.collect() }
}

fn calls(records: &Records) -> Table {
    let outcomes = records.calls.outcomes();
    let rows = records.calls.counts().iter().map(|(action, count)| {
        let ended = outcomes.get(action).into_iter().flatten();
        let ended: Vec<String> = ended.map(|(outcome, count)| format!("{outcome} {count}")).collect();
        vec![action.clone(), count.to_string(), ended.join(", ")]
    });
    Table { title: "Calls".to_owned(), columns: &["action", "calls", "outcomes"], rows: rows.collect() }
}

/// Everything that is not as on a good day.
fn troubles(records: &Records, now: Timestamp) -> Table {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for fault in records.faults.remaining() {
        let kind = String::from(fault.kind.clone());
        let about = fault.about.as_deref().map(|about| format!(" ({about})")).unwrap_or_default();
        rows.push(vec![
            "fault".to_owned(),
            format!("{}{about}", fault.action),
            format!("{kind}, {} times", fault.times),
        ]);
    }
    for call in records.calls.held() {
        let since = now.since(Timestamp(call.at_ms)).as_secs();
        rows.push(vec![
            "held".to_owned(),
            format!("{} from {}", call.action, call.source),
            format!("call {}, {since} s", call.seq),
        ]);
    }
    let manners = serde_json::to_value(&records.world.config().manners).unwrap_or_default();
    let good = serde_json::to_value(crate::manners::Manners::default()).unwrap_or_default();
    for (name, value) in manners.as_object().into_iter().flatten() {
        if good.get(name) != Some(value) {
            rows.push(vec!["manners".to_owned(), name.clone(), value.to_string()]);
        }
    }
    Table { title: "Troubles".to_owned(), columns: &["kind", "where", "what"], rows }
}

fn text(tables: &[Table]) -> String {
    let mut page = String::new();
    for table in tables {
        let head: Vec<String> = table.columns.iter().map(|column| column.to_uppercase()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(&table.rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{}\n", table.title);
        for line in lines {
            let cells: Vec<String> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(page, "  {}", cells.join("  ").trim_end());
        }
        page.push('\n');
    }
    page
}

fn html(tables: &[Table]) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\
         <title>Simulated cloud</title><style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}\
         td,th{border:1px solid #ccc;padding:2px 8px;text-align:left;vertical-align:top}</style></head><body>\n",
    );
    for table in tables {
        let _ = write!(page, "<h2>{}</h2>\n<table>", escape(&table.title));
        add_row(&mut page, "th", table.columns.iter().copied());
        for row in &table.rows {
            add_row(&mut page, "td", row.iter().map(String::as_str));
        }
        page.push_str("\n</table>\n");
    }
    page.push_str("</body></html>\n");
    page
}

fn add_row<'a>(page: &mut String, tag: &str, cells: impl Iterator<Item = &'a str>) {
    page.push_str("\n<tr>");
    for cell in cells {
        let _ = write!(page, "<{tag}>{}</{tag}>", escape(cell));
    }
    page.push_str("</tr>");
}

/// Tags and descriptions are other people's text.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> [Table; 1] {
        let rows = vec![vec!["eni-1".to_owned(), "<b>&\"".to_owned()], vec!["e".to_owned(), String::new()]];
        [Table { title: "T".to_owned(), columns: &["eni", "tags"], rows }]
    }

    #[test]
    fn columns_stand_below_each_other() {
        assert_eq!(text(&table()), "T\n\n  ENI    TAGS\n  eni-1  <b>&\"\n  e\n\n");
    }

    #[test]
    fn foreign_text_stays_text() {
        assert!(html(&table()).contains("<td>&lt;b&gt;&amp;&quot;</td>"));
    }
}
