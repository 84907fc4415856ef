# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The web side: sessions and task state in Redis, work handed to RQ."""

from __future__ import annotations

import secrets
import socket
import time
import uuid
from typing import Any

from flask import Flask, Response, jsonify, request
from redis.exceptions import RedisError
from rq import Queue, Retry
from rq.serializers import JSONSerializer

from . import settings
from .jobs import work

app = Flask(__name__)
redis = settings.connection()
queue = Queue(settings.QUEUE, connection=redis, serializer=JSONSerializer)


@app.errorhandler(RedisError)
def redis_is_away(error: RedisError) -> tuple[Response, int]:
    """An outage is the application's problem, not a crash: callers are told to come back."""
    return jsonify(error=type(error).__name__), 503


@app.get("/health")
def health() -> tuple[Response, int]:
    """200 only if Redis takes a write and gives it back."""
    key, value = settings.HEALTH.format(socket.gethostname()), secrets.token_hex(8)
    redis.set(key, value, ex=60)
    if redis.get(key) != value.encode():
        return jsonify(error="Redis gave back something else"), 503
    return jsonify(status="ok"), 200


@app.post("/sessions")
def log_in() -> tuple[Response, int]:
    """A session for whoever asks."""
    token = secrets.token_urlsafe(16)
    redis.hset(settings.SESSION.format(token), mapping={"user": request.json["user"], "jobs": 0})
    redis.expire(settings.SESSION.format(token), settings.SESSION_SECONDS)
    answer = jsonify(user=request.json["user"])
    answer.set_cookie("session", token, httponly=True, samesite="Strict")
    return answer, 201


@app.get("/sessions")
def session() -> tuple[Response, int]:
    """Who is logged in, and how many jobs they asked for."""
    found = redis.hgetall(settings.SESSION.format(request.cookies.get("session")))
    if not found:
        return jsonify(error="not logged in"), 401
    return jsonify(user=found[b"user"].decode(), jobs=int(found[b"jobs"])), 200


@app.post("/jobs")
def enqueue() -> tuple[Response, int]:
    """Hand a job to RQ. The answer is 202 only when Redis took it, and by then it is on the acknowledged list."""
    body: dict[str, Any] = request.get_json(silent=True) or {}
    job_id = str(uuid.uuid4())
    redis.hset(settings.TASK.format(job_id), mapping={"state": "queued", "queued": time.time()})
    redis.expire(settings.TASK.format(job_id), 86400)
    queue.enqueue(
        work,
        float(body.get("seconds", 0)),
        job_id=job_id,
        ttl=600,
        result_ttl=86400,
        failure_ttl=3600,
        retry=Retry(max=3),
    )
    settings.acknowledge(job_id)
    token = request.cookies.get("session")
    if token:
        redis.hincrby(settings.SESSION.format(token), "jobs", 1)
    return jsonify(id=job_id), 202


@app.get("/jobs/<job_id>")
def task(job_id: str) -> tuple[Response, int]:
    """What became of a job."""
    found = redis.hgetall(settings.TASK.format(job_id))
    if not found:
        return jsonify(error="no such job"), 404
    return jsonify({key.decode(): value.decode() for key, value in found.items()}), 200
