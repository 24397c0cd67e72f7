"""A Kafka cluster for tests: librdkafka's mock, which speaks the real protocol on a port of its own.

Prints {"address": "127.0.0.1:port"} and then answers one line of JSON with one line of JSON until its input ends:
  {"do": "produce", "topic": …, "compression": …, "records": [[partition, key or null, base64 or null], …]}
  {"do": "read", "topic": …}  what is there now: {"records": [[partition, offset, key or null, base64 or null], …]}
A topic is made by the first record, with four partitions.
"""
import base64
import json
import sys

from confluent_kafka import Consumer, Producer, TopicPartition

cluster = Producer({"test.mock.num.brokers": 1})
broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
address = f"{broker.host}:{broker.port}"
producers = {}


def plain(value):
    return None if value is None else base64.b64encode(value).decode()


def produce(request):
    compression = request.get("compression", "none")
    if compression not in producers:
        producers[compression] = Producer({
            "bootstrap.servers": address, "compression.codec": compression, "linger.ms": 5,
            "message.max.bytes": 16 << 20, "queue.buffering.max.messages": 1_000_000, "acks": "all",
        })
    producer, failed = producers[compression], []
    for partition, key, value in request["records"]:
        producer.produce(
            request["topic"], partition=partition, key=key,
            value=None if value is None else base64.b64decode(value),
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
        )
        producer.poll(0)
    left = producer.flush(20)
    return {"error": f"{left} not sent, {failed[:1]}"} if left or failed else {}


def read(request):
    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "enable.auto.commit": False})
    topic, records, left = request["topic"], [], 0
    try:
        ends = []
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            left += high - low
            ends.append(TopicPartition(topic, partition, low))
        consumer.assign(ends)
        while left:
            message = consumer.poll(10)
            if message is None or message.error():
                return {"error": f"{left} not read: {message and message.error()}"}
            key = message.key()
            records.append([message.partition(), message.offset(), key and key.decode(), plain(message.value())])
            left -= 1
    finally:
        consumer.close()
    return {"records": records}


print(json.dumps({"address": address}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({"produce": produce, "read": read}[request["do"]](request)), flush=True)
