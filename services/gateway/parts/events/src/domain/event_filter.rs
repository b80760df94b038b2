//! Which events somebody wants: readers of the event stream and receivers of webhooks ask alike.

use gateway_api::domain::labels;
use gateway_api::domain::violation::{Violation, excerpt};
use std::collections::{BTreeMap, BTreeSet};

/// Most types in one filter.
pub const TYPES_LIMIT: usize = 32;
/// Most labels in one filter.
pub const LABELS_LIMIT: usize = 16;
/// Longest id of an object, in bytes.
const OBJECT_LIMIT: usize = 128;
/// In the place of an event's name, or of a tenant: every one.
pub const ANY: &str = "*";

/// Types, an object and labels; an event has to fit all of them. What is empty leaves nothing out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Service and event; a service of which all events are wanted stands there once, with [`ANY`].
    types: BTreeSet<(String, String)>,
    object: String,
    labels: BTreeMap<String, String>,
}

impl EventFilter {
    /// Reads what was asked for: types like "scheduler.InstanceReady" or "scheduler", the id of an object ("" = any), labels
    /// like "team=web". `known` answers whether there is such an event of a service, for [`ANY`] whether there is one at all.
    pub fn read(
        types: &[String],
        object_id: &str,
        labels: &[String],
        known: impl Fn(&str, &str) -> bool,
    ) -> Result<Self, Violation> {
        if !object_id.is_empty() && !is_token(object_id) {
            return Err(Violation::new("object_id", "an object is named by its id"));
        }
        Ok(Self {
            types: read_types(types, known)?,
            object: object_id.to_owned(),
            labels: read_labels(labels)?,
        })
    }

    /// Subjects with wildcards for the types and the object, of one tenant ([`ANY`] = of all); empty = the whole stream.
    /// They never overlap: the broker refuses that.
    pub fn subjects(&self, tenant: &str) -> Vec<String> {
        let rest = match self.object.as_str() {
            "" if tenant == ANY => ">".to_owned(),
            "" => format!("{tenant}.>"),
            object => format!("{tenant}.{object}"),
        };
        if self.types.is_empty() {
            return if rest == ">" { Vec::new() } else { vec![format!("evt.*.*.*.{rest}")] };
        }
        self.types.iter().map(|(service, event)| format!("evt.{service}.*.{event}.{rest}")).collect()
    }

    /// Whether an event of this type about this object is wanted, as far as its labels do not decide.
    pub fn takes(&self, service: &str, event: &str, object: &str) -> bool {
        let wanted = |(of, name): &(String, String)| of == service && (name == ANY || name == event);
        (self.types.is_empty() || self.types.iter().any(wanted))
            && (self.object.is_empty() || self.object == object)
    }

    /// Whether labels decide: then the data of an event has to be read.
    pub fn asks_for_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Whether an event whose data carries these labels is wanted. One that carries none fits no label.
    pub fn takes_labels(&self, carried: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| carried.get(key) == Some(value))
    }
}

/// What stands in one place of a subject as it is.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= OBJECT_LIMIT
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn read_types(
    types: &[String],
    known: impl Fn(&str, &str) -> bool,
) -> Result<BTreeSet<(String, String)>, Violation> {
    if types.len() > TYPES_LIMIT {
        let text = format!("{} types are too many: at most {TYPES_LIMIT}", types.len());
        return Err(Violation::new("types", text));
    }
    let mut wanted = BTreeSet::new();
    for (index, name) in types.iter().enumerate() {
        let (service, event) = name.split_once('.').unwrap_or((name, ANY));
        if !known(service, event) {
            let text =
                format!("{:?} is no event: write scheduler or scheduler.InstanceReady", excerpt(name, 80));
            return Err(Violation::new(format!("types[{index}]"), text));
        }
        wanted.insert((service.to_owned(), event.to_owned()));
    }
    let whole = wanted.clone();
    wanted.retain(|(service, event)| event == ANY || !whole.contains(&(service.clone(), ANY.to_owned())));
    Ok(wanted)
}

fn read_labels(asked: &[String]) -> Result<BTreeMap<String, String>, Violation> {
    if asked.len() > LABELS_LIMIT {
        let text = format!("{} labels are too many: at most {LABELS_LIMIT}", asked.len());
        return Err(Violation::new("labels", text));
    }
    let mut wanted = BTreeMap::new();
    for (index, label) in asked.iter().enumerate() {
        let field = format!("labels[{index}]");
        let Some((key, value)) = label.split_once('=') else {
            let text = format!("{:?} is no label: write key=value", excerpt(label, 80));
            return Err(Violation::new(field, text));
        };
        let one = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        labels::check(&field, &one).map_err(|wrong| Violation { field: field.clone(), ..wrong })?;
        if wanted.insert(key.to_owned(), value.to_owned()).is_some_and(|earlier| earlier != value) {
            let text = format!("{key} is asked for with two values: nothing fits both");
            return Err(Violation::new(field, text));
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(service: &str, event: &str) -> bool {
        match service {
            "scheduler" => [ANY, "InstanceReady", "InstanceChanged"].contains(&event),
            "storage" => [ANY, "ImageImported"].contains(&event),
            _ => false,
        }
    }

    fn filter(types: &[&str], object: &str, labels: &[&str]) -> Result<EventFilter, String> {
        let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        EventFilter::read(&own(types), object, &own(labels), known).map_err(|wrong| wrong.field)
    }

    fn subjects(types: &[&str], object: &str, tenant: &str) -> Vec<String> {
        filter(types, object, &[]).expect("right").subjects(tenant)
    }

    #[test]
    fn a_tenant_is_sent_its_own_events_alone() {
        assert_eq!(subjects(&[], "", "acme"), ["evt.*.*.*.acme.>"]);
        assert_eq!(subjects(&[], "018f", "acme"), ["evt.*.*.*.acme.018f"]);
        assert_eq!(subjects(&["scheduler"], "", "acme"), ["evt.scheduler.*.*.acme.>"]);
    }

    #[test]
    fn types_become_subjects_that_do_not_overlap() {
        assert!(subjects(&[], "", ANY).is_empty());
        assert_eq!(subjects(&[], "018f", ANY), ["evt.*.*.*.*.018f"]);
        assert_eq!(subjects(&["scheduler.InstanceReady"], "", ANY), ["evt.scheduler.*.InstanceReady.>"]);
        let mixed = ["scheduler.InstanceReady", "scheduler", "scheduler", "storage.ImageImported"];
        let expected = ["evt.scheduler.*.*.*.x", "evt.storage.*.ImageImported.*.x"];
        assert_eq!(subjects(&mixed, "x", ANY), expected);
    }

    #[test]
    fn an_event_has_to_fit_everything() {
        let all = filter(&[], "", &[]).expect("right");
        assert!(all.takes("scheduler", "InstanceReady", "x") && all.takes_labels(&BTreeMap::new()));
        assert!(!all.asks_for_labels());
        let some =
            filter(&["scheduler.InstanceReady", "storage"], "x", &["team=web", "tier="]).expect("right");
        assert!(some.takes("scheduler", "InstanceReady", "x") && some.takes("storage", "ImageImported", "x"));
        assert!(!some.takes("scheduler", "InstanceChanged", "x"));
        assert!(!some.takes("scheduler", "InstanceReady", "y"));
        let carries = |labels: &[(&str, &str)]| {
            some.takes_labels(&labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        assert!(some.asks_for_labels());
        assert!(carries(&[("team", "web"), ("tier", ""), ("other", "1")]));
        assert!(!carries(&[("team", "web")]) && !carries(&[("team", "db"), ("tier", "")]) && !carries(&[]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let types = |types: &[&str]| filter(types, "", &[]).expect_err("wrong");
        assert_eq!(types(&["scheduler", "scheduler.>"]), "types[1]");
        assert_eq!(types(&["nobody"]), "types[0]");
        assert_eq!(types(&["scheduler.CreateInstance"]), "types[0]");
        assert_eq!(types(&["scheduler"; TYPES_LIMIT + 1]), "types");
        for object in ["a.>", "*", "a b", &"x".repeat(OBJECT_LIMIT + 1)] {
            assert_eq!(filter(&[], object, &[]), Err("object_id".to_owned()), "{object}");
        }
        let labels = |labels: &[&str]| filter(&[], "", labels).expect_err("wrong");
        assert_eq!(labels(&["a=b", "team"]), "labels[1]");
        assert_eq!(labels(&["=b"]), "labels[0]");
        assert_eq!(labels(&["a=b\nc"]), "labels[0]");
        assert_eq!(labels(&["a=b", "a=c"]), "labels[1]");
        assert_eq!(labels(&["a=b"; LABELS_LIMIT + 1]), "labels");
        assert!(filter(&[], "", &["a=b=c", "a=b=c"]).expect("right").asks_for_labels());
    }
}
