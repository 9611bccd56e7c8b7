// Checks what a Holdfast store proves: docs/PROTOCOL.md section 6, written a second time.
//
// A proof is parsed within bounds before anything is hashed; nothing here calls itself on
// what a stranger sent, but for CBOR, whose depth is bounded.

const PROOF_BYTES = 1 << 20;
const LIST_BYTES = 1 << 23;
const MESSAGE_BYTES = 4096;
const TREE_DEPTH = 12288;
const CBOR_DEPTH = 16;
const HANDOVERS = 64;
const HASH_BYTES = 32;
const STORE_BYTES = 16;
const PART_BYTES = 1 << 20;
const PARTS = 1 << 20;
const LEAF_BYTES = 66;
const WORD = 1n << 64n;
const SECOND_NS = 1_000_000_000n;
const CLOCKS_APART_NS = 60n * SECOND_NS;
const text = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What does not convince: `reason` says why. */
export class ProofInvalid extends Error {
  constructor(reason) {
    super(`the proof does not verify (${reason})`);
    this.name = "ProofInvalid";
    this.reason = reason;
  }
}

const refuse = (reason) => {
  throw new ProofInvalid(reason);
};

// -- bytes ---------------------------------------------------------------------------

const word = (name) => join([Uint8Array.of(name.length), text.encode(name)]);

function join(pieces) {
  const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Negative, 0 or positive, in byte order; a prefix is smaller. */
function compare(one, other) {
  const size = Math.min(one.length, other.length);
  for (let at = 0; at < size; at += 1) {
    if (one[at] !== other[at]) return one[at] - other[at];
  }
  return one.length - other.length;
}

/** The first key above this one. */
const behind = (key) => join([key, Uint8Array.of(0)]);
const equal = (one, other) => compare(one, other) === 0;
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

async function sha256(...pieces) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", join(pieces)));
}

// -- CBOR: the part that proofs use, deterministic form only ---------------------------

class Tagged {
  constructor(tag, value) {
    this.tag = tag;
    this.value = value;
  }
}

class Reader {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  take(count) {
    if (count > this.data.length - this.at) refuse("encoding");
    this.at += count;
    return this.data.subarray(this.at - count, this.at);
  }

  /** Major type and number, the number in its shortest form. */
  head() {
    const [first] = this.take(1);
    const major = first >> 5;
    const code = first & 31;
    if (code < 24) return [major, BigInt(code)];
    if (code > 27 || major === 7) refuse("encoding");
    const width = 1 << (code - 24);
    let number = 0n;
    for (const byte of this.take(width)) number = (number << 8n) | BigInt(byte);
    if (number < (width === 1 ? 24n : 1n << BigInt(4 * width))) refuse("encoding");
    return [major, number];
  }

  count(number) {
    if (number > BigInt(this.data.length - this.at)) refuse("encoding");
    return Number(number);
  }

  item(depth) {
    if (depth === 0) refuse("depth");
    const [major, number] = this.head();
    switch (major) {
      case 0:
        return number;
      case 1:
        return -1n - number;
      case 2:
        return this.take(this.count(number));
      case 3:
        return decodeText(this.take(this.count(number)), "encoding");
      case 4:
        return Array.from({ length: this.count(number) }, () => this.item(depth - 1));
      case 5:
        return this.map(this.count(number), depth - 1);
      case 6:
        return new Tagged(number, this.item(depth - 1));
      default:
        if (number === 22n) return null;
        if (number === 20n || number === 21n) return number === 21n;
        return refuse("encoding");
    }
  }

  map(count, depth) {
    const found = new Map();
    let before = new Uint8Array(0); // how the key before is encoded
    for (let index = 0; index < count; index += 1) {
      const start = this.at;
      const key = this.item(depth);
      const name = typeof key === "bigint" ? `${key}` : typeof key === "string" ? `"${key}` : null;
      const encoded = this.data.subarray(start, this.at);
      if (name === null || found.has(name) || compare(encoded, before) < 0) refuse("encoding");
      before = encoded;
      found.set(name, this.item(depth));
    }
    return found;
  }
}

function decodeText(bytes, reason) {
  try {
    return strict.decode(bytes);
  } catch {
    return refuse(reason);
  }
}

function decode(data, most) {
  if (data.length > most) refuse("bytes");
  const reader = new Reader(data);
  const value = reader.item(CBOR_DEPTH);
  if (reader.at !== data.length) refuse("encoding");
  return value;
}

function head(major, size) {
  if (size < 24) return Uint8Array.of((major << 5) | size);
  if (size < 256) return Uint8Array.of((major << 5) | 24, size);
  return Uint8Array.of((major << 5) | 25, size >> 8, size & 255);
}

const isBytes = (value) => value instanceof Uint8Array;

// -- keys and signatures -----------------------------------------------------------------

const KINDS = [
  { alg: -8n, oid: "06032b6570", name: "Ed25519", size: 64 },
  { alg: -7n, oid: "06082a8648ce3d030107", name: "ECDSA", namedCurve: "P-256", hash: "SHA-256", size: 64 },
  { alg: -35n, oid: "06052b81040022", name: "ECDSA", namedCurve: "P-384", hash: "SHA-384", size: 96 },
];
const ED25519_PREFIX = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);

/** A public key of PEM text, DER bytes or the 32 bytes of an Ed25519 key. */
async function importKey(key) {
  let der = key;
  if (typeof key === "string") {
    const inner = key.replace(/-----[A-Z ]+-----/g, "").replace(/\s/g, "");
    der = Uint8Array.from(atob(inner), (letter) => letter.charCodeAt(0));
  } else if (key.length === 32) {
    der = join([ED25519_PREFIX, key]);
  }
  const start = hex(der.subarray(0, 32));
  const kind = KINDS.find(({ oid }) => start.includes(oid));
  if (kind === undefined) throw new TypeError("no public key of a known kind");
  return { kind, key: await crypto.subtle.importKey("spki", der, kind, false, ["verify"]) };
}

/** The payload of a COSE_Sign1 of this type that the key signed. */
async function signedBy(message, type, { kind, key }) {
  const outer = decode(message, MESSAGE_BYTES);
  const parts = outer instanceof Tagged && outer.tag === 18n ? outer.value : null;
  if (!Array.isArray(parts) || parts.length !== 4) refuse("structure");
  const [protectedBytes, unprotected, payload, signature] = parts;
  if (!isBytes(protectedBytes) || !(unprotected instanceof Map)) refuse("structure");
  if (!isBytes(signature) || !(payload === null || isBytes(payload))) refuse("structure");
  const header = decode(protectedBytes, MESSAGE_BYTES);
  if (!(header instanceof Map) || header.size !== 2 || unprotected.size !== 0) refuse("structure");
  if (!header.has("1") || !header.has("16")) refuse("structure");
  if (header.get("16") !== type || payload === null) refuse("type");
  if (header.get("1") !== kind.alg) refuse("algorithm");
  const context = text.encode("Signature1");
  const signed = join([
    head(4, 4),
    head(3, context.length),
    context,
    head(2, protectedBytes.length),
    protectedBytes,
    head(2, 0),
    head(2, payload.length),
    payload,
  ]);
  const holds = signature.length === kind.size && (await crypto.subtle.verify(kind, key, signature, signed));
  if (!holds) refuse("signature");
  return decode(payload, MESSAGE_BYTES);
}

/** Whether a key signed a message; anything else that is wrong with it is refused. */
async function isSignedBy(message, type, trusted) {
  try {
    await signedBy(message, type, trusted);
    return true;
  } catch (error) {
    if (error.reason === "signature" || error.reason === "algorithm") return false;
    throw error;
  }
}

const isWord = (value) => typeof value === "bigint" && value >= 0n && value < WORD;

/**
 * The key at the end of a chain of hand-overs, its first revision, the store named.
 * What comes before the first that the trusted key signed was over before it was trusted.
 */
async function currentKey(trusted, handovers) {
  if (handovers.length > HANDOVERS) refuse("handover");
  let current = { key: trusted, since: 0n, store: null };
  for (const message of handovers) {
    if (current.store === null && !(await isSignedBy(message, "holdfast-handover", trusted))) continue;
    const fields = await signedBy(message, "holdfast-handover", current.key);
    if (!Array.isArray(fields) || fields.length !== 4) refuse("handover");
    const [version, store, revision, der] = fields;
    if (version !== 1n || !isBytes(store) || typeof revision !== "bigint" || !isBytes(der)) refuse("handover");
    if (revision < current.since || (current.store !== null && !equal(store, current.store))) refuse("handover");
    const key = await importKey(der).catch(() => refuse("handover"));
    current = { key, since: revision, store };
  }
  return current;
}

async function signedRoot(message, trusted, handovers) {
  const { key, since, store: named } = await currentKey(trusted, handovers);
  const fields = await signedBy(message, "holdfast-root", key);
  if (!Array.isArray(fields) || fields.length !== 8) refuse("structure");
  const [version, store, incarnation, revision, timeNs, root, logSize, logRoot] = fields;
  if (version !== 1n || ![incarnation, revision, timeNs, logSize].every(isWord)) refuse("structure");
  if (![store, root, logRoot].every(isBytes)) refuse("structure");
  if (store.length !== STORE_BYTES || root.length !== HASH_BYTES || logRoot.length !== HASH_BYTES) refuse("structure");
  if (revision < since || (named !== null && !equal(named, store))) refuse("handover");
  return { store, incarnation, revision, timeNs, root };
}

// -- the hash tree ---------------------------------------------------------------------

const EMPTY = 0;
const FORK = 1;
const LABELLED = 2;
const LEAF = 3;
const PRUNED = 4;
const EMPTY_WORD = word("ic-hashtree-empty");
const FORK_WORD = word("ic-hashtree-fork");
const LABELLED_WORD = word("ic-hashtree-labeled");
const LEAF_WORD = word("ic-hashtree-leaf");
const ARITY = [0x81, 0x83, 0x83, 0x82, 0x82];

function fork(left, right) {
  if (left.kind === LEAF || right.kind === LEAF) refuse("leaf");
  if (left.last !== null && right.first !== null && compare(left.last, right.first) >= 0) refuse("order");
  return { kind: FORK, left, right, first: left.first ?? right.first, last: right.last ?? left.last };
}

/** The tree that the bytes encode: nodes with the outermost labels in sight below them. */
function decodeTree(data, most) {
  if (data.length > most) refuse("bytes");
  const reader = new Reader(data);
  const string = () => {
    const [major, size] = reader.head();
    if (major !== 2) refuse("encoding");
    return reader.take(reader.count(size));
  };
  const above = []; // a label; null: a fork's left is being read; a node: the left that was read
  for (;;) {
    const [arity, kind] = reader.take(2);
    if (kind > PRUNED || arity !== ARITY[kind]) refuse("encoding");
    if (kind === FORK || kind === LABELLED) {
      above.push(kind === FORK ? null : string());
      if (above.length > TREE_DEPTH) refuse("depth");
      continue;
    }
    let node = { kind, first: null, last: null };
    if (kind !== EMPTY) node.content = string();
    if (kind === PRUNED && node.content.length !== HASH_BYTES) refuse("encoding");
    for (;;) {
      if (above.length === 0) {
        if (reader.at !== data.length) refuse("encoding");
        return node;
      }
      const top = above.pop();
      if (top === null) {
        above.push(node);
        break;
      }
      node = isBytes(top) ? { kind: LABELLED, label: top, subtree: node, first: top, last: top } : fork(top, node);
    }
  }
}

async function digest(tree) {
  const done = [];
  const waiting = [[tree, false]];
  while (waiting.length > 0) {
    const [node, below] = waiting.pop();
    if (node.kind === FORK && !below) waiting.push([node, true], [node.right, false], [node.left, false]);
    else if (node.kind === LABELLED && !below) waiting.push([node, true], [node.subtree, false]);
    else if (node.kind === FORK) {
      const right = done.pop();
      done.push(await sha256(FORK_WORD, done.pop(), right));
    } else if (node.kind === LABELLED) done.push(await sha256(LABELLED_WORD, node.label, done.pop()));
    else if (node.kind === LEAF) done.push(await sha256(LEAF_WORD, node.content));
    else done.push(node.kind === PRUNED ? node.content : await sha256(EMPTY_WORD));
  }
  return done[0];
}

/** What stands below the forks of a node, left to right. */
function* forest(node) {
  const waiting = [node];
  while (waiting.length > 0) {
    const one = waiting.pop();
    if (one.kind === FORK) waiting.push(one.right, one.left);
    else if (one.kind !== EMPTY) yield one;
  }
}

/** The subtree under a label, or null where the tree shows that there is none. */
function find(node, label) {
  let sure = true;
  for (const one of forest(node)) {
    if (one.kind === LABELLED) {
      const order = compare(one.label, label);
      if (order === 0) return one.subtree;
      if (order > 0) return sure ? null : refuse("unknown");
      sure = true;
    } else if (one.kind === LEAF) refuse("error");
    else sure = false;
  }
  return sure ? null : refuse("unknown");
}

const present = (node, label) => find(node, label) ?? refuse("absent");

/** The parts that reach into a range: where each begins, where the next one does, what is below. */
function tiles(node, low, high) {
  const found = [];
  let before = null;
  let sure = false;
  for (const one of [...forest(node), null]) {
    if (one !== null && one.kind !== LABELLED) {
      sure = false;
      continue;
    }
    const stop = one === null ? null : one.label;
    if (stop === null || compare(stop, low) > 0) {
      if (before === null || !sure) refuse("unknown");
      found.push({ start: before.label, stop, part: before.subtree });
    }
    if (stop === null || (high !== null && compare(stop, high) >= 0)) break;
    before = one;
    sure = true;
  }
  return found;
}

/** Every label of one level from `low` to below `high` (null: to the end). */
function span(node, low, high) {
  const found = [];
  let sure = true;
  for (const one of forest(node)) {
    if (one.kind !== LABELLED) {
      sure = false;
      continue;
    }
    if (compare(one.label, low) > 0 && !sure) refuse("unknown");
    if (high !== null && compare(one.label, high) >= 0) return found;
    if (compare(one.label, low) >= 0) found.push(one);
    if (high !== null && compare(behind(one.label), high) >= 0) return found;
    sure = true;
  }
  return sure ? found : refuse("unknown");
}

const content = (node) => (node.kind === LEAF ? node.content : refuse("unknown"));

// -- what a leaf says ------------------------------------------------------------------

function attributesOf(bytes) {
  if (bytes.length < LEAF_BYTES || bytes[0] !== 1) refuse("leaf");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const typed = bytes[65];
  const behind = bytes.subarray(LEAF_BYTES);
  if (typed > 1 || (behind.length > 0 && typed === 0)) refuse("leaf");
  const expiresNs = view.getBigUint64(57);
  return {
    digest: bytes.subarray(1, 33),
    size: view.getBigUint64(33),
    version: view.getBigUint64(41),
    modifiedNs: view.getBigUint64(49),
    expiresNs: expiresNs === 0n ? null : expiresNs,
    contentType: typed === 1 ? decodeText(behind, "leaf") : null,
  };
}

/** The RFC 9162 root over the value's parts of 1 MiB, one empty part for the empty value. */
async function valueDigest(value) {
  let level = [];
  for (let at = 0; at === 0 || at < value.length; at += PART_BYTES) {
    level.push(await sha256(Uint8Array.of(0), value.subarray(at, at + PART_BYTES)));
  }
  while (level.length > 1) {
    const next = [];
    for (let at = 0; at < level.length; at += 2) {
      next.push(at + 1 < level.length ? await sha256(Uint8Array.of(1), level[at], level[at + 1]) : level[at]);
    }
    level = next;
  }
  return level[0];
}

/** The RFC 9162 root that leads from the hash of one of `size` entries along `path` (section 2.1.3.2). */
async function rootOfInclusion(index, size, hashed, path) {
  let at = index;
  let last = size - 1;
  let root = hashed;
  for (const sibling of path) {
    if (last === 0 || !isBytes(sibling) || sibling.length !== HASH_BYTES) refuse("value");
    if (at % 2 === 1 || at === last) {
      root = await sha256(Uint8Array.of(1), sibling, root);
      while (at % 2 === 0 && at > 0) {
        at /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      root = await sha256(Uint8Array.of(1), root, sibling);
    }
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? root : refuse("value");
}

/** Hold that these are whole parts of 1 MiB of a value, at their places. */
async function checkParts({ first, data, paths }, size, digest) {
  const count = Number(size === 0n ? 1n : (size + BigInt(PART_BYTES) - 1n) / BigInt(PART_BYTES));
  const pieces = Math.max(1, Math.ceil(data.length / PART_BYTES));
  const last = first + pieces;
  if (!Number.isSafeInteger(first) || first < 0 || last > Math.min(count, first + PARTS)) refuse("parts");
  const stop = last === count ? size : BigInt(last) * BigInt(PART_BYTES);
  if (paths.length !== pieces || BigInt(first) * BigInt(PART_BYTES) + BigInt(data.length) !== stop) refuse("parts");
  for (const [at, path] of paths.entries()) {
    const part = data.subarray(at * PART_BYTES, (at + 1) * PART_BYTES);
    const root = await rootOfInclusion(first + at, count, await sha256(Uint8Array.of(0), part), path);
    if (!equal(root, digest)) refuse("value");
  }
}

// -- proofs ------------------------------------------------------------------------------

async function open(proof, { publicKey, maxAgeS, minRevision, nowMs = Date.now() }, most) {
  const trusted = await importKey(publicKey);
  const fields = decode(proof, most);
  if (!Array.isArray(fields) || fields.length !== 4) refuse("structure");
  const [version, handovers, message, encoded] = fields;
  if (version !== 1n || !Array.isArray(handovers) || !handovers.every(isBytes)) refuse("structure");
  if (!isBytes(message) || !isBytes(encoded)) refuse("structure");
  const root = await signedRoot(message, trusted, handovers);
  const tree = decodeTree(encoded, most);
  if (!equal(await digest(tree), root.root)) refuse("root");
  if (minRevision !== undefined && root.revision < BigInt(minRevision)) refuse("revision");
  if (maxAgeS !== undefined) {
    const age = BigInt(Math.trunc(nowMs * 1000)) * 1000n - root.timeNs;
    if (age < -CLOCKS_APART_NS || age > BigInt(Math.trunc(maxAgeS * 1e9))) refuse("age");
  }
  return { root, tree };
}

/** Every key of a range with what its leaf says, and the bucket that must hold the first. */
async function objects({ root, tree }, namespace, low, high) {
  const name = isBytes(namespace) ? namespace : text.encode(namespace);
  const label = isBytes(namespace) ? name : await sha256(word("holdfast-namespace"), root.store, name);
  if (label.length !== HASH_BYTES) throw new TypeError("the id of a namespace has 32 bytes");
  const space = find(tree, label);
  if (space === null) return { bucket: null, found: [] };
  const parts = tiles(space, low, high);
  const found = parts.flatMap(({ start, stop, part }) => {
    const first = compare(start, low) > 0 ? start : low;
    const last = high === null || (stop !== null && compare(stop, high) < 0) ? stop : high;
    return span(present(part, text.encode("keys")), first, last);
  });
  const about = content(present(parts[0].part, text.encode("part")));
  if (about.length !== 16) refuse("leaf");
  const told = found.map((one) => ({ key: one.label, said: attributesOf(content(one.subtree)) }));
  return { bucket: hex(about.subarray(8)), found: told };
}

function verified(said, root, bucket) {
  return {
    size: said?.size ?? null,
    version: said?.version ?? null,
    modifiedNs: said?.modifiedNs ?? null,
    expiresNs: said?.expiresNs ?? null,
    contentType: said?.contentType ?? null,
    revision: root.revision,
    timeNs: root.timeNs,
    incarnation: root.incarnation,
    store: hex(root.store),
    bucket,
  };
}

const lives = (said, root) => said.expiresNs === null || said.expiresNs > root.timeNs;

/**
 * Hold that a store has this value under this key, or (null) that it has none.
 *
 * @param {string|Uint8Array} namespace its name, or its 32-byte id
 * @param {string} key
 * @param {Uint8Array|null} value the whole value
 * @param {Uint8Array} proof
 * @param {{publicKey: string|Uint8Array, maxAgeS?: number, minRevision?: number|bigint, nowMs?: number}} options
 * @throws {ProofInvalid} it proves neither presence nor absence
 */
export async function verify(namespace, key, value, proof, options) {
  const { said, told } = await object(namespace, key, proof, options);
  if ((said === null) !== (value === null)) refuse(value === null ? "present" : "absent");
  if (said !== null) {
    const same = BigInt(value.length) === said.size && equal(await valueDigest(value), said.digest);
    if (!same) refuse("value");
  }
  return told;
}

/** What a proof says of a key: its leaf, null where there is no object; and all that is known of it. */
async function object(namespace, key, proof, options) {
  if (key === "") throw new TypeError("a key has at least one byte");
  const low = text.encode(key);
  const opened = await open(proof, options, PROOF_BYTES);
  const { bucket, found } = await objects(opened, namespace, low, behind(low));
  const said = found.length > 0 && lives(found[0].said, opened.root) ? found[0].said : null;
  return { said, told: verified(said, opened.root, bucket) };
}

/**
 * Hold that these are parts of the value under a key; arguments as of `verify`.
 *
 * @param {{first: number, data: Uint8Array, paths: Uint8Array[][]}|null} held whole parts of 1 MiB that
 *   follow one another, the place of the first, and for each the hashes of its inclusion; null to
 *   learn of the object alone
 * @throws {ProofInvalid} "absent": there is no such object; "parts": they are not whole; "value"
 */
export async function verifyParts(namespace, key, held, proof, options) {
  const { said, told } = await object(namespace, key, proof, options);
  if (held !== null) {
    if (said === null) refuse("absent");
    await checkParts(held, said.size, said.digest);
  }
  return told;
}

/**
 * Hold that these are all objects below a prefix: a Map of key to what is known of it.
 *
 * A page is held to `after`, the key that it begins behind, and to `until`, its last one.
 */
export async function verifyList(namespace, prefix, proof, options) {
  const { after, until } = options;
  let low = text.encode(prefix);
  let high = low.length === 0 ? null : low.slice();
  if (high !== null) high[high.length - 1] += 1; // UTF-8 has no byte 255
  if (until !== undefined) high = behind(text.encode(until));
  if (after !== undefined) {
    const next = behind(text.encode(after));
    if (compare(next, low) > 0) low = next;
    if (high !== null && compare(low, high) > 0) low = high;
  }
  const opened = await open(proof, options, LIST_BYTES);
  const { bucket, found } = await objects(opened, namespace, low, high);
  const living = found.filter(({ said }) => lives(said, opened.root));
  return new Map(living.map(({ key, said }) => [decodeText(key, "leaf"), verified(said, opened.root, bucket)]));
}
