"""A small stdio MCP server. `modern` speaks 2026-07-28, `legacy` the older era, `strict` ends when it hears anything before initialize."""
import json, os, resource, signal, subprocess, sys, threading, time

ERA = sys.argv[1]
lock = threading.Lock()
asked = {}

def say(message):
    with lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

def result(id, value):
    say({"jsonrpc": "2.0", "id": id, "result": value})

def text(id, value):
    result(id, {"content": [{"type": "text", "text": value}]})

def call(message):
    id, params = message["id"], message["params"]
    name, arguments = params["name"], params.get("arguments", {})
    if name == "echo":
        time.sleep(arguments.get("after", 0))
        text(id, arguments["text"])
    elif name == "progress":
        token = params["_meta"]["progressToken"]
        for step in range(3):
            say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": step}})
        text(id, arguments["text"])
    elif name == "ask":
        event = threading.Event()
        asked["q1"] = event
        say({"jsonrpc": "2.0", "id": "q1", "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}})
        event.wait(5)
        text(id, json.dumps(getattr(event, "answer", None)))
    elif name == "environment":
        text(id, json.dumps({"env": dict(os.environ), "fds": sorted(os.listdir("/proc/self/fd")), "pid": os.getpid(), "pgid": os.getpgid(0),
                             "uid": os.getuid(), "as": resource.getrlimit(resource.RLIMIT_AS)[0]}))
    elif name == "meta":
        text(id, json.dumps(params.get("_meta")))
    elif name == "spawn":
        text(id, str(subprocess.Popen(["sleep", "60"]).pid))
    elif name == "crash":
        os._exit(3)
    elif name == "garbage":
        with lock:
            sys.stdout.write("this is a log line\n{\"no\": \"id\"}\n[1,2]\n")
            sys.stdout.flush()
        text(id, "after")
    elif name == "flood":
        with lock:
            sys.stdout.write("x" * (1 << 20))
            sys.stdout.flush()
        time.sleep(30)
    elif name == "changed":
        say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        text(id, "done")
    elif name == "cancellable":
        for _ in range(200):
            if id in cancelled:
                open(arguments["mark"], "w").write("cancelled")
                return
            time.sleep(0.02)
        text(id, "late")
    else:
        say({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "Unknown tool: " + name}})

cancelled = set()
initialized = ERA == "modern"
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if ERA == "strict" and not initialized and method != "initialize":
        sys.exit(1)
    if method is None:
        event = asked.pop(message["id"])
        event.answer = message.get("result")
        event.set()
    elif method == "initialize" and ERA != "modern":
        initialized = True
        result(message["id"], {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}},
                               "serverInfo": {"name": "fixture", "version": "1"}, "instructions": "be kind"})
    elif method == "server/discover" and ERA == "modern":
        result(message["id"], {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"})
    elif method == "notifications/cancelled":
        cancelled.add(message["params"]["requestId"])
    elif method == "tools/list":
        result(message["id"], {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("read_x", "echo")]})
    elif method == "tools/call":
        threading.Thread(target=call, args=(message,), daemon=True).start()
    elif "id" in message:
        say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
sys.stderr.write("input ended\n")
if os.environ.get("DEAF"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
