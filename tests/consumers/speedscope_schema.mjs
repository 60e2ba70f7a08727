// SPDX-License-Identifier: Apache-2.0
//
// Checks files against speedscope's own schema, and what the schema cannot say: indices, balance,
// order and sums. Prints a line for each file; status 1 when one is wrong.
//
//     node speedscope_schema.mjs FILE...
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const root = path.resolve(process.env.NODE_ROOT ||
	new URL("../../build/consumers/node", import.meta.url).pathname);
const require = createRequire(path.join(root, "x.js"));
const Ajv = require("ajv");
const schema = JSON.parse(fs.readFileSync(
	path.join(root, "node_modules/speedscope/dist/release/file-format-schema.json")));
const valid = new (Ajv.default || Ajv)({ strict: false, allErrors: true }).compile(schema);

function checkSampled(profile, frameCount, say) {
	if (profile.samples.length !== profile.weights.length)
		say("samples and weights differ in number");
	if (profile.samples.some(stack => stack.some(frame => !(frame >= 0 && frame < frameCount))))
		say("a frame out of range");
	if (profile.weights.some(weight => !(weight >= 0) || !Number.isSafeInteger(weight)))
		say("a weight that is no whole number");
	const sum = profile.weights.reduce((a, b) => a + b, 0);
	if (sum !== profile.endValue - profile.startValue)
		say(`weights sum to ${sum}, not ${profile.endValue - profile.startValue}`);
}

function checkEvented(profile, frameCount, say) {
	const stack = [];
	let last = profile.startValue;
	for (const { type, frame, at } of profile.events) {
		if (at < last)
			return say("time goes backwards");
		last = at;
		if (!(frame >= 0 && frame < frameCount))
			return say("a frame out of range");
		if (type === "O")
			stack.push(frame);
		else if (stack.pop() !== frame)
			return say("closes another frame than is open");
	}
	if (stack.length)
		say("frames stay open");
	if (last > profile.endValue)
		say("an event after the end");
}

let status = 0;
for (const file of process.argv.slice(2)) {
	const faults = [];
	const data = JSON.parse(fs.readFileSync(file, "utf8"));
	if (!valid(data))
		faults.push(...valid.errors.map(error => `${error.instancePath} ${error.message}`));
	if (!(data.activeProfileIndex in data.profiles))
		faults.push("activeProfileIndex out of range");
	data.profiles.forEach((profile, i) => {
		const say = text => faults.push(`profile ${i}: ${text}`);
		const check = profile.type === "sampled" ? checkSampled : checkEvented;
		check(profile, data.shared.frames.length, say);
	});
	console.log(file, faults.length ? faults.slice(0, 5).join("; ") : "valid");
	status = faults.length ? 1 : status;
}
process.exit(status);
