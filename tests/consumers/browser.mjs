// SPDX-License-Identifier: Apache-2.0
//
// Opens our exports in headless Chromium: the speedscope application or a flame graph. Prints one
// line of JSON; status 0 when the program took the file without complaint.
//
//     node browser.mjs speedscope FILE [--png FILE] [--save FILE]
//     node browser.mjs svg FILE [--png FILE] [--search RE]
//     node browser.mjs page URL [--png FILE]
//
// NODE_ROOT is the folder with node_modules, build/consumers/node by default.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const root = path.resolve(process.env.NODE_ROOT ||
	new URL("../../build/consumers/node", import.meta.url).pathname);
const require = createRequire(path.join(root, "x.js"));
const { chromium } = require("playwright-core");
const chrome = process.env.CHROMIUM || "/usr/bin/chromium";
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css",
	".wasm": "application/wasm", ".json": "application/json" };

const words = process.argv.slice(2);
const option = name => {
	const at = words.indexOf(name);
	return at < 0 ? null : words.splice(at, 2)[1];
};
const png = option("--png");
const save = option("--save");
const pattern = option("--search") || ".";
const [mode, file] = words;

// speedscope's own files and the profile, from this machine.
function serve() {
	const release = path.join(root, "node_modules/speedscope/dist/release");
	const server = http.createServer((request, response) => {
		const name = decodeURIComponent(new URL(request.url, "http://x").pathname);
		const from = name.startsWith("/profile/") ? file
			: path.join(release, path.normalize(name === "/" ? "/index.html" : name));
		fs.readFile(from, (error, bytes) => {
			response.writeHead(error ? 404 : 200, {
				"content-type": types[path.extname(from)] || "application/octet-stream" });
			response.end(error ? "" : bytes);
		});
	});
	return new Promise(ready => server.listen(0, "127.0.0.1", () => ready(server)));
}

// The application's own dump of what it read (Ctrl+S), whatever the format was.
async function speedscope(page, out) {
	const server = await serve();
	const base = `http://127.0.0.1:${server.address().port}`;
	page.on("dialog", dialog => {
		out.errors.push(dialog.message());
		dialog.dismiss().catch(() => {});
	});
	page.on("console", message => {
		const text = message.text();
		if (/^Importing /.test(text))
			out.importer = text;
		else if (/^Failed to load format/.test(text))
			out.errors.push(text.slice(0, 200));
		else if (/^import: /.test(text))
			out.importTime = text;
	});
	await page.goto(`${base}/#profileURL=${encodeURIComponent(
		`${base}/profile/${encodeURIComponent(path.basename(file))}`)}`);
	await page.waitForFunction(() => / - speedscope$/.test(document.title) ||
		/Something went wrong|Unrecognized|Failed/i.test(document.body.innerText),
	null, { timeout: 120000 });
	out.title = await page.title();
	if (!/ - speedscope$/.test(out.title)) {
		out.errors.push((await page.evaluate(() => document.body.innerText)).slice(0, 200));
		return server.close();
	}
	await page.keyboard.press("1");
	await page.waitForTimeout(500);
	if (png)
		await page.screenshot({ path: png });
	await page.keyboard.press("3");
	await page.waitForSelector("table tr", { state: "attached" });
	const download = page.waitForEvent("download", { timeout: 60000 });
	await page.keyboard.press("Control+s");
	const data = JSON.parse(fs.readFileSync(await (await download).path(), "utf8"));
	if (save)
		fs.writeFileSync(save, JSON.stringify(data));
	out.profiles = data.profiles.length;
	server.close();
}

function look() {
	const text = selector => (document.querySelector(selector) || {}).textContent || "";
	const groups = [...document.querySelectorAll("#frames > g")];
	const shown = groups.filter(group => group.querySelector("rect") &&
		group.querySelector("title") && getComputedStyle(group).display !== "none");
	return {
		boxes: shown.length,
		details: text("#details").trim(),
		matched: text("#matched").trim(),
		unzoom: document.querySelector("#unzoom").getAttribute("class"),
		first: shown.length ? shown[0].querySelector("title").textContent : "",
		highest: Math.max(...shown.map(group =>
			Math.round(group.querySelector("rect").getBoundingClientRect().top))),
	};
}

// Everything a user does: hover, zoom, search, reset, keys, the callers' tree, root at the bottom.
async function svg(page, out) {
	await page.goto(pathToFileURL(path.resolve(file)).href);
	await page.waitForSelector("#field");
	const broken = await page.evaluate(() =>
		(document.querySelector("parsererror") || {}).textContent);
	if (broken)
		out.errors.push(broken.slice(0, 200));
	out.load = await page.evaluate(look);
	const target = await page.evaluateHandle(text =>
		[...document.querySelectorAll("#frames > g")].find(box => {
			const title = box.querySelector("title").textContent;
			return new RegExp(text).test(title) && !/^all/.test(title) &&
				box.querySelector("rect").getBoundingClientRect().width >= 3;
		}), pattern);
	if (target.asElement()) {
		out.target = await target.evaluate(box => box.querySelector("title").textContent);
		await target.hover({ force: true });
		out.hover = (await page.evaluate(look)).details;
		await target.click({ force: true });
		out.zoomed = await page.evaluate(look);
	}
	await page.keyboard.press("Escape");
	out.reset = await page.evaluate(look);
	await page.keyboard.press("ArrowDown");
	await page.keyboard.press("ArrowDown");
	out.selected = (await page.evaluate(look)).details;
	await page.keyboard.press("Control+f");
	await page.keyboard.type(pattern);
	await page.keyboard.press("Enter");
	out.searched = await page.evaluate(look);
	if (png)
		await page.screenshot({ path: png });
	out.address = page.url();
	await page.keyboard.press("v");
	out.callers = await page.evaluate(look);
	await page.keyboard.press("v");
	await page.keyboard.press("f");
	out.flipped = await page.evaluate(look);
	await page.keyboard.press("f");
	await page.reload();
	await page.waitForSelector("#field");
	out.reloaded = await page.evaluate(look);
	// As an image: no script runs, the layout is that of the file.
	const markup = `<img src="${pathToFileURL(path.resolve(file)).href}">`;
	const html = path.join(fs.mkdtempSync(path.join(process.env.TMPDIR || "/tmp", "scprof-")), "x.html");
	fs.writeFileSync(html, markup);
	await page.goto(pathToFileURL(html).href);
	out.image = await page.evaluate(async () => {
		const image = document.querySelector("img");
		await image.decode();
		return [image.naturalWidth, image.naturalHeight];
	});
	fs.rmSync(path.dirname(html), { recursive: true });
}

// A page of somebody else's: what it wants from elsewhere it does not get.
async function plainPage(page, out) {
	await page.route(url => url.hostname !== "127.0.0.1", route => route.abort());
	await page.goto(file);
	await page.waitForTimeout(1500);
	out.title = await page.title();
	out.rows = await page.evaluate(() => [...document.querySelectorAll("table tr")]
		.slice(0, 2000).map(row => row.innerText.replace(/\s+/g, " ")));
	if (png)
		await page.screenshot({ path: png });
	out.external = [];
}

const browser = await chromium.launch({ executablePath: chrome,
	args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"] });
const context = await browser.newContext({ viewport: { width: 1300, height: 800 },
	acceptDownloads: true, colorScheme: process.env.DARK ? "dark" : "light" });
const page = await context.newPage();
const out = { errors: [], external: [] };
page.on("pageerror", error => out.errors.push(error.message.split("\n")[0]));
page.on("request", request => {
	if (!/^(file|data|blob|about):|^http:\/\/127\.0\.0\.1/.test(request.url()))
		out.external.push(request.url());
});
try {
	await ({ speedscope, svg, page: plainPage })[mode](page, out);
} catch (error) {
	out.errors.push("driver: " + error.message.split("\n")[0]);
}
out.ok = !out.errors.length && !out.external.length;
console.log(JSON.stringify(out));
await browser.close();
process.exit(out.ok ? 0 : 1);
