//! The CSV files. Everything that is wrong is told with its line and column, not only the first.

use super::rows::{HOST_COLUMNS, HostRow, INSTANCE_COLUMNS, InstanceRow, Workload};
use client::Failure;
use kernel::labels::{LABEL_VALUE_LIMIT, is_label_key};
use kernel::limits;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;

/// Problems that are shown; the rest is counted.
const SHOWN: usize = 20;
/// Ten years: later times are mistakes.
const LATEST_S: f64 = 315_360_000.0;

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// The column; "" = the whole line.
    pub column: String,
    /// What is there.
    pub value: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if !self.column.is_empty() {
            write!(f, ": {} is {:?}", self.column, self.value)?;
        }
        write!(f, ": {}", self.right)
    }
}

/// Reads both files.
pub fn workload(hosts: &Path, instances: &Path) -> Result<Workload, Failure> {
    let open = |path: &Path| {
        std::fs::File::open(path).map_err(|e| Failure::usage(format!("file {}: {e}", path.display())))
    };
    let (host_file, instance_file) = (open(hosts)?, open(instances)?);
    let mut problems = Vec::new();
    let workload = Workload {
        hosts: read_hosts(&hosts.display().to_string(), host_file, &mut problems),
        instances: read_instances(&instances.display().to_string(), instance_file, &mut problems),
    };
    if problems.is_empty() {
        return Ok(workload);
    }
    let mut reasons: Vec<String> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
    if problems.len() > SHOWN {
        reasons.push(format!("and {} more", problems.len() - SHOWN));
    }
    let text = format!("{} mistakes in the files of the workload", problems.len());
    Err(Failure { reasons, ..Failure::usage(text) })
}

/// The hosts of a file, and what is wrong with it.
pub fn read_hosts(file: &str, from: impl Read, problems: &mut Vec<Problem>) -> Vec<HostRow> {
    let mut names = HashMap::new();
    let rows = rows(file, from, &HOST_COLUMNS, problems, |row| {
        let host = HostRow {
            name: row.name(&mut names, host_name),
            vcpus_milli: row.number("vcpus_milli", 1..=100_000_000),
            memory_mib: row.number("memory_mib", 1..=1 << 30),
            disk_gib: row.optional("disk_gib", 0..=1 << 30),
            gpus: row.optional("gpus", 0..=64) as u32,
            gpu_model: row.text("gpu_model").to_owned(),
            zone: row.text("zone").to_owned(),
            labels: row.labels(),
        };
        if host.gpus > 0 && host.gpu_model.is_empty() {
            row.wrong("gpu_model", "a host with gpus names their model, such as a100");
        }
        if host.gpus == 0 && !host.gpu_model.is_empty() {
            row.wrong("gpu_model", "a host without gpus has no model: leave it empty or set gpus");
        }
        host
    });
    if rows.is_empty() && problems.is_empty() {
        problems.push(Problem {
            file: file.to_owned(),
            line: 1,
            column: String::new(),
            value: String::new(),
            right: "there is no host in it; write one line for each".to_owned(),
        });
    }
    rows
}

/// The instances of a file, and what is wrong with it.
pub fn read_instances(file: &str, from: impl Read, problems: &mut Vec<Problem>) -> Vec<InstanceRow> {
    let mut names = HashMap::new();
    rows(file, from, &INSTANCE_COLUMNS, problems, |row| {
        let instance = InstanceRow {
            name: row.name(&mut names, instance_name),
            vcpus_milli: row.number("vcpus_milli", limits::VCPUS_LEAST.0..=limits::VCPUS.0),
            memory_mib: row.number("memory_mib", limits::MEMORY_LEAST.0 >> 20..=limits::MEMORY.0 >> 20),
            disk_gib: row.optional("disk_gib", 0..=limits::DISK.0 >> 30),
            gpus: row.optional("gpus", 0..=limits::GPUS.into()) as u32,
            gpu_milli: row.optional("gpu_milli", 0..=limits::GPU_MILLI.into()) as u32,
            group: row.text("group").to_owned(),
            max_per_host: row.optional("max_per_host", 0..=100_000) as u32,
            labels: row.labels(),
            created_at_s: row.seconds("created_at_s").unwrap_or_default(),
            deleted_at_s: (!row.text("deleted_at_s").is_empty())
                .then(|| row.seconds("deleted_at_s").unwrap_or(f64::MAX)),
        };
        if instance.gpus == 0 && instance.gpu_milli > 0 {
            row.wrong("gpu_milli", "a share of no GPU: set gpus to 1, or leave gpu_milli empty");
        }
        if instance.gpus > 1 && (1..1000).contains(&instance.gpu_milli) {
            row.wrong("gpu_milli", "several GPUs are given whole: write 1000, or gpus 1 for a share");
        }
        if instance.group.is_empty() && instance.max_per_host > 0 {
            row.wrong("max_per_host", "it limits the members of a group: name a group, or leave it empty");
        }
        if !instance.group.is_empty() && !is_label_key(&instance.group) {
            row.wrong("group", "write 1 to 63 letters, digits, '-', '_', '.' and '/'");
        }
        if instance.deleted_at_s.is_some_and(|deleted| deleted <= instance.created_at_s) {
            row.wrong("deleted_at_s", "it comes after created_at_s, or is empty for never");
        }
        instance
    })
}

/// A line of a file, while it is read.
struct Row<'r> {
    file: &'r str,
    line: u64,
    cells: BTreeMap<&'static str, String>,
    problems: &'r mut Vec<Problem>,
}

fn rows<T>(
    file: &str,
    from: impl Read,
    columns: &[&'static str],
    problems: &mut Vec<Problem>,
    mut make: impl FnMut(&mut Row<'_>) -> T,
) -> Vec<T> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(from);
    let mut whole_line = |line, right: String| {
        let (column, value) = (String::new(), String::new());
        problems.push(Problem { file: file.to_owned(), line, column, value, right });
    };
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(str::to_owned).collect(),
        Err(error) => {
            whole_line(1, format!("not a CSV file: {error}"));
            return Vec::new();
        }
    };
    let missing: Vec<&str> = columns.iter().filter(|c| !header.iter().any(|h| h == *c)).copied().collect();
    let unknown: Vec<&str> = header.iter().map(String::as_str).filter(|h| !columns.contains(h)).collect();
    if !missing.is_empty() || !unknown.is_empty() {
        let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        whole_line(
            1,
            format!(
                "the first line names the columns {}; missing: {}; unknown: {}",
                columns.join(","),
                list(&missing),
                list(&unknown)
            ),
        );
        return Vec::new();
    }
    let mut made = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let right = format!("not a line of CSV: {error}");
                let (column, value) = (String::new(), String::new());
                problems.push(Problem { file: file.to_owned(), line, column, value, right });
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != header.len() {
            let right = format!("{} values under {} columns", record.len(), header.len());
            let (column, value) = (String::new(), String::new());
            problems.push(Problem { file: file.to_owned(), line, column, value, right });
            continue;
        }
        let cell = |column: &&'static str| {
            let index = header.iter().position(|h| h == column);
            (*column, index.and_then(|i| record.get(i)).unwrap_or_default().to_owned())
        };
        let cells = columns.iter().map(cell).collect();
        made.push(make(&mut Row { file, line, cells, problems }));
    }
    made
}

impl Row<'_> {
    fn text(&self, column: &'static str) -> &str {
        self.cells.get(column).map(String::as_str).unwrap_or_default()
    }

    fn wrong(&mut self, column: &'static str, right: impl Into<String>) {
        let value = self.text(column).to_owned();
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: self.line,
            column: column.to_owned(),
            value,
            right: right.into(),
        });
    }

    /// A name that no line before has.
    fn name(&mut self, seen: &mut HashMap<String, u64>, check: fn(&str) -> Option<&'static str>) -> String {
        let name = self.text("name").to_owned();
        if let Some(right) = check(&name) {
            self.wrong("name", right);
        } else if let Some(before) = seen.insert(name.clone(), self.line) {
            self.wrong("name", format!("names are unique, and line {before} has this one"));
        }
        name
    }

    fn number(&mut self, column: &'static str, range: RangeInclusive<u64>) -> u64 {
        match self.text(column).parse::<u64>() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.wrong(column, format!("write a whole number from {} to {}", range.start(), range.end()));
                *range.start()
            }
        }
    }

    /// The same; empty = 0.
    fn optional(&mut self, column: &'static str, range: RangeInclusive<u64>) -> u64 {
        if self.text(column).is_empty() { 0 } else { self.number(column, range) }
    }

    fn seconds(&mut self, column: &'static str) -> Option<f64> {
        let number = self.text(column).parse::<f64>().ok().filter(|n| (0.0..=LATEST_S).contains(n));
        if number.is_none() {
            self.wrong(column, format!("write seconds since the beginning, from 0 to {LATEST_S}"));
        }
        number
    }

    /// "k=v;k2=v2"
    fn labels(&mut self) -> BTreeMap<String, String> {
        let text = self.text("labels").to_owned();
        let mut labels = BTreeMap::new();
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) if is_label_key(key) && value.len() <= LABEL_VALUE_LIMIT => {
                    if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                        self.wrong("labels", format!("the label {key} is there twice"));
                    }
                }
                _ => self.wrong("labels", "write key=value pairs with ';' between, such as zone=a;disk=ssd"),
            }
        }
        labels
    }
}

fn host_name(name: &str) -> Option<&'static str> {
    let right = (1..=253).contains(&name.len()) && !name.chars().any(|c| c.is_control() || c.is_whitespace());
    (!right).then_some("write 1 to 253 characters without blanks")
}

fn instance_name(name: &str) -> Option<&'static str> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let right = (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(inner)
        && name.chars().all(|c| inner(c) || c == '-');
    (!right).then_some(
        "write 1 to 63 lower case letters, digits and '-', beginning with a letter and not ending with '-'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "name,vcpus_milli,memory_mib,disk_gib,gpus,gpu_model,zone,labels\n";
    const INSTANCES: &str = "name,vcpus_milli,memory_mib,disk_gib,gpus,gpu_milli,group,max_per_host,labels,created_at_s,deleted_at_s\n";

    fn hosts(lines: &str) -> (Vec<HostRow>, Vec<String>) {
        let mut problems = Vec::new();
        let rows = read_hosts("h.csv", format!("{HOSTS}{lines}").as_bytes(), &mut problems);
        (rows, problems.iter().map(ToString::to_string).collect())
    }

    fn instances(lines: &str) -> (Vec<InstanceRow>, Vec<String>) {
        let mut problems = Vec::new();
        let rows = read_instances("w.csv", format!("{INSTANCES}{lines}").as_bytes(), &mut problems);
        (rows, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rows_are_read_with_their_empty_cells() {
        let (rows, problems) = hosts("h1,64000,262144,4096,8,a100,a,disk=ssd;rack=7\nh2,1000,1,,,,,\n");
        assert_eq!(problems, [""; 0]);
        assert_eq!((rows[0].gpus, rows[0].zone.as_str(), rows[0].labels.len()), (8, "a", 2));
        assert_eq!(rows[0].all_labels().len(), 4);
        assert_eq!((rows[1].disk_gib, rows[1].gpus), (0, 0));
        let (rows, problems) = instances("a,250,64,,,,,,,0,\nb,1000,64,1,1,500,g,2,team=x,1.5,2\n");
        assert_eq!(problems, [""; 0]);
        assert_eq!((rows[0].deleted_at_s, rows[1].deleted_at_s), (None, Some(2.0)));
        assert_eq!((rows[1].created_at_s, rows[1].max_per_host, rows[1].gpus_milli()), (1.5, 2, 500));
    }

    #[test]
    fn every_mistake_is_told_with_line_column_value_and_what_is_right() {
        let cases = [
            ("A,1,64,,,,,,,0,", "w.csv:2: name is \"A\": write 1 to 63"),
            ("a,0,64,,,,,,,0,", "w.csv:2: vcpus_milli is \"0\": write a whole number from 1"),
            ("a,1.5,64,,,,,,,0,", "vcpus_milli is \"1.5\""),
            ("a,1,1,,,,,,,0,", "memory_mib is \"1\": write a whole number from 16"),
            ("a,1,64,x,,,,,,0,", "disk_gib is \"x\""),
            ("a,1,64,,65,,,,,0,", "gpus is \"65\""),
            ("a,1,64,,0,500,,,,0,", "gpu_milli is \"500\": a share of no GPU"),
            ("a,1,64,,2,500,,,,0,", "several GPUs are given whole"),
            ("a,1,64,,,,,3,,0,", "max_per_host is \"3\": it limits the members of a group"),
            ("a,1,64,,,,a b,,,0,", "group is \"a b\""),
            ("a,1,64,,,,,,zone,0,", "labels is \"zone\": write key=value pairs"),
            ("a,1,64,,,,,,,-1,", "created_at_s is \"-1\": write seconds"),
            ("a,1,64,,,,,,,5,5", "deleted_at_s is \"5\": it comes after created_at_s"),
            ("a,1,64", "w.csv:2: 3 values under 11 columns"),
        ];
        for (line, expected) in cases {
            let (_, problems) = instances(line);
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
            assert!(problems[0].contains(expected), "{line}: {problems:?}");
        }
        let (_, problems) = instances("a,1,64,,,,,,,0,\nb,0,1,,,,,,,x,\na,1,64,,,,,,,0,\n");
        assert_eq!(problems.len(), 4, "all of them: {problems:?}");
        assert!(problems[3].starts_with("w.csv:4: name is \"a\": names are unique, and line 2"));
    }

    #[test]
    fn headers_and_empty_fleets_are_told() {
        let mut problems = Vec::new();
        read_hosts("h.csv", "name,cpus\nh,1\n".as_bytes(), &mut problems);
        let text = problems[0].to_string();
        assert!(
            text.starts_with("h.csv:1")
                && text.contains("missing: vcpus_milli")
                && text.contains("unknown: cpus"),
            "{text}"
        );
        assert!(hosts("").1[0].contains("no host"));
        assert!(hosts("h,1000,64,,2,,,\n").1[0].contains("names their model"));
    }

    #[test]
    fn a_file_with_hundreds_of_mistakes_shows_twenty() {
        let folder = tempfile::tempdir().expect("a folder");
        let (h, w) = (folder.path().join("h.csv"), folder.path().join("w.csv"));
        std::fs::write(&h, format!("{HOSTS}h,1000,1024,,,,,\n")).expect("written");
        std::fs::write(&w, format!("{INSTANCES}{}", "a b,1,64,,,,,,,0,\n".repeat(100))).expect("written");
        let failure = workload(&h, &w).expect_err("refused");
        assert!(failure.to_string().contains("100 mistakes"), "{failure}");
        assert_eq!((failure.reasons.len(), failure.reasons[20].as_str()), (21, "and 80 more"));
    }
}
