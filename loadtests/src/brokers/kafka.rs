//! A Kafka cluster of one broker: librdkafka's own mock, held by a Python process.

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What runs the cluster.
const PROGRAM: &str = include_str!("mock_kafka.py");
const HOW: &str = "the mock cluster of PyPI's confluent-kafka is needed: scripts/install-test-deps.sh (make test-deps)";

/// A record to be produced.
#[derive(Clone, Debug)]
pub struct KafkaMessage {
    /// Partition: a topic has four.
    pub partition: i32,
    /// Key.
    pub key: Option<String>,
    /// Value; none is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// A record as another client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaRecord {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: Option<String>,
    /// Value.
    pub value: Option<Vec<u8>>,
}

/// A running cluster; it ends with its value.
pub struct KafkaBroker {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The environment that scripts/install-test-deps.sh makes beside the build.
fn python() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let beside = |folder: &std::path::Path| Some(folder.join("test-python/bin/python")).filter(|p| p.exists());
    program.ancestors().find_map(beside).context(HOW)
}

impl KafkaBroker {
    /// Starts one.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(python()?);
        command.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context(HOW)?;
        let requests = child.stdin.take().context("a pipe")?;
        let answers = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut broker = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), child, requests, answers };
        let said = broker.answer().context(HOW)?;
        broker.address = said["address"].as_str().context("an address")?.parse()?;
        Ok(broker)
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        anyhow::ensure!(self.answers.read_line(&mut line)? > 0, "the mock cluster has ended");
        let answer: Value = serde_json::from_str(&line)?;
        anyhow::ensure!(answer["error"].is_null(), "the mock cluster: {}", answer["error"]);
        Ok(answer)
    }

    fn ask(&mut self, request: &Value) -> anyhow::Result<Value> {
        writeln!(self.requests, "{request}")?;
        self.requests.flush()?;
        self.answer()
    }

    /// Produces records and waits until the broker has acknowledged them all; the first one makes the topic.
    ///
    /// # Errors
    /// Not all were acknowledged.
    pub fn produce(&mut self, topic: &str, compression: &str, messages: &[KafkaMessage]) -> anyhow::Result<()> {
        let row = |m: &KafkaMessage| json!([m.partition, m.key, m.value.as_ref().map(|v| BASE64_STANDARD.encode(v))]);
        let records: Vec<Value> = messages.iter().map(row).collect();
        let request = json!({"do": "produce", "topic": topic, "compression": compression, "records": records});
        self.ask(&request).map(|_| ())
    }

    /// What is in a topic now, by partition and offset.
    ///
    /// # Errors
    /// Not all could be read.
    pub fn read(&mut self, topic: &str) -> anyhow::Result<Vec<KafkaRecord>> {
        type Row = (i32, i64, Option<String>, Option<String>);
        let answer = self.ask(&json!({"do": "read", "topic": topic}))?;
        let rows: Vec<Row> = serde_json::from_value(answer["records"].clone())?;
        let record = |(partition, offset, key, value): Row| {
            let value = value.map(|text| BASE64_STANDARD.decode(text)).transpose()?;
            Ok(KafkaRecord { partition, offset, key, value })
        };
        let mut records = rows.into_iter().map(record).collect::<anyhow::Result<Vec<_>>>()?;
        records.sort_by_key(|r| (r.partition, r.offset));
        Ok(records)
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
