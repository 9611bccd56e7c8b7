// Says of each case in a JSON file what the verifier of clients/js says: null, or a reason.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , verifier, file] = process.argv;
const { verify, verifyList, verifyParts, ProofInvalid } = await import(pathToFileURL(verifier));
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));

const said = [];
for (const one of JSON.parse(readFileSync(file))) {
  const fresh = one.real ? {} : { maxAgeS: 10, minRevision: 7, nowMs: one.nowMs };
  const options = { publicKey: one.key, ...fresh };
  try {
    if (one.parts !== undefined) {
      const { first, data, paths } = one.parts;
      const held = { first, data: bytes(data), paths: paths.map((path) => path.map(bytes)) };
      await verifyParts(one.namespace, one.name, held, bytes(one.proof), options);
      said.push(null);
    } else if (one.prefix === undefined) {
      const value = one.value === null ? null : bytes(one.value);
      await verify(one.namespace, one.name, value, bytes(one.proof), options);
      said.push(null);
    } else {
      const page = { after: one.after ?? undefined, until: one.until ?? undefined };
      const found = await verifyList(one.namespace, one.prefix, bytes(one.proof), { ...options, ...page });
      said.push([...found.keys()]);
    }
  } catch (error) {
    if (!(error instanceof ProofInvalid)) throw error;
    said.push(error.reason);
  }
}
console.log(JSON.stringify(said));
