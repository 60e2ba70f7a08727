/* SPDX-License-Identifier: Apache-2.0
 *
 * The script inside each flame graph. It draws all views from scprofData: the picture that came
 * with the file at the window's width, zoomed views, the callers' tree. Nothing is loaded from
 * anywhere.
 */
(function () {
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const XHTML = "http://www.w3.org/1999/xhtml";
const ROW = 18;
const MARGIN = 10;
const TOP = 100;
const MAX_ROWS = 200;        /* below the zoomed box */
const MAX_ANCESTORS = 12;
const MAX_BOXES = 6000;      /* drawn at a time */
const SMALLEST_PX = 0.3;
const LAST_KINDS = "nkwo";   /* drawn behind their siblings */

const script = document.currentScript;
const svg = script.ownerSVGElement;
const alone = svg === document.documentElement;
const data = window.scprofData;

const frames = data.frames.map(([label, nameLength, kind, path, line]) => ({
	label,
	name: Array.from(label).slice(0, nameLength).join(""),
	kind,
	place: data.paths[path] ? data.paths[path] + (line > 0 ? ":" + line : "") : "",
	total: 0, /* on the stack, recursion counted once */
	places: 0,
	width: 0,
	nameWidth: 0,
}));

/* --- the trees ---------------------------------------------------------------------------- */

function Box(frame, total, parent, id) {
	this.frame = frame;
	this.total = total;
	this.parent = parent;
	this.id = id;
	this.children = [];
	this.self = total;
}

function order(a, b) {
	const last = LAST_KINDS.includes(a.frame.kind[0]) - LAST_KINDS.includes(b.frame.kind[0]);
	return last || b.total - a.total;
}

const boxes = [];

function buildTree() {
	const path = [];
	for (let i = 0; i < data.frame.length; i++) {
		const depth = data.depth[i];
		const parent = depth > 0 ? path[depth - 1] : null;
		const box = new Box(frames[data.frame[i]], data.total[i], parent, i);
		boxes.push(box);
		path[depth] = box;
		if (parent) {
			parent.children.push(box);
			parent.self -= box.total;
		}
	}
	for (const box of boxes)
		box.children.sort(order);
	return boxes[0];
}

/* Parents precede their children in boxes, so "is this frame above?" takes one walk. */
function sumFrames() {
	const above = new Map();
	const stack = [[tree, false]];
	while (stack.length) {
		const [box, leave] = stack.pop();
		const count = above.get(box.frame) || 0;
		if (leave) {
			above.set(box.frame, count - 1);
			continue;
		}
		above.set(box.frame, count + 1);
		box.frame.places++;
		if (count === 0)
			box.frame.total += box.total;
		stack.push([box, true]);
		for (const child of box.children)
			stack.push([child, false]);
	}
}

/* The callers' tree grows as it is looked at: a box remembers which boxes of the tree it stands for
 * (where) and with how much of their cost (weight), and groups their parents when it is opened. */
function callers(box) {
	if (!box.where)
		return box.children;
	const groups = new Map();
	for (let i = 0; i < box.where.length; i++) {
		const up = box.parent ? box.where[i].parent : box.where[i];
		if (!up || up === tree)
			continue;
		let group = groups.get(up.frame);
		if (!group) {
			group = new Box(up.frame, 0, box, -1);
			group.where = [];
			group.weight = [];
			groups.set(up.frame, group);
		}
		group.where.push(up);
		group.weight.push(box.weight[i]);
		group.total += box.weight[i];
	}
	box.children = Array.from(groups.values()).sort(order);
	box.self = box.total;
	for (const child of box.children) {
		child.self = child.total;
		box.self -= child.total;
	}
	box.where = box.weight = null;
	return box.children;
}

function buildCallers() {
	const root = new Box(tree.frame, tree.total, null, -1);
	const leaves = boxes.filter(box => box.self > 0 && box !== tree);
	root.where = leaves;
	root.weight = leaves.map(box => box.self);
	return root;
}

const tree = buildTree();
sumFrames();

/* --- state -------------------------------------------------------------------------------- */

let inverted = null; /* the callers' tree once it was asked for */
let zoom = tree;
let callersMode = false;
let flame = false;   /* root at the bottom */
let byFile = false;  /* colours tell files apart instead of kinds of code */
let pattern = null;
let selected = null;
let drawn = [];      /* {box, row, element} */
let width = 1200;
let top = TOP;
let contentHeight = 0;

const byId = id => svg.querySelector("#" + id);
const head = byId("head");
const stage = byId("frames");
const details = byId("details");
const matched = byId("matched");

/* --- texts -------------------------------------------------------------------------------- */

const pen = document.createElementNS(XHTML, "canvas").getContext("2d");
pen.font = "12px \"DejaVu Sans\", Verdana, \"Segoe UI\", system-ui, sans-serif";
const measure = text => pen.measureText(text).width;

function fit(frame, room) {
	if (room < 12)
		return "";
	frame.width = frame.width || measure(frame.label);
	if (frame.width <= room)
		return frame.label;
	frame.nameWidth = frame.nameWidth || measure(frame.name);
	if (frame.nameWidth <= room)
		return frame.name;
	const characters = Array.from(frame.name);
	let count = Math.floor(characters.length * room / frame.nameWidth);
	while (count > 0 && measure(characters.slice(0, count).join("") + "…") > room)
		count--;
	return count > 0 ? characters.slice(0, count).join("") + "…" : "";
}

const units = data.unit === "bytes"
	? [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "KB"], [1, "bytes"]]
	: [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

function amount(value) {
	for (const [size, unit] of units) {
		if (value >= size && size > 1)
			return (value / size).toFixed(value / size < 100 ? 2 : 0) + " " + unit;
	}
	return value + " " + units[3][1];
}

const percent = (part, whole) => (whole > 0 ? 100 * part / whole : 0).toFixed(2) + " %";

function describe(box, separator) {
	const parts = [box.frame.label,
		amount(box.total) + ", " + percent(box.total, tree.total)];
	if (zoom.parent && box !== zoom && box.total <= zoom.total)
		parts[1] += " (" + percent(box.total, zoom.total) + " of this view)";
	if (!callersMode && box.self > 0)
		parts.push("self " + amount(box.self) + ", " + percent(box.self, tree.total));
	if (box.frame.places > 1 && box.frame !== tree.frame)
		parts.push("everywhere " + percent(box.frame.total, tree.total) + " in " +
			box.frame.places + " places");
	if (box.frame.place)
		parts.push(box.frame.place);
	return parts.join(separator);
}

/* --- drawing ------------------------------------------------------------------------------ */

function make(name, attributes, parent) {
	const element = document.createElementNS(SVG, name);
	for (const key in attributes)
		element.setAttribute(key, attributes[key]);
	if (parent)
		parent.appendChild(element);
	return element;
}

function colour(frame) {
	if (!byFile || LAST_KINDS.includes(frame.kind[0]) || frame.kind[0] === "t")
		return { class: frame.kind };
	let hash = 7;
	for (const c of frame.place.replace(/:\d+$/, ""))
		hash = (hash * 31 + c.codePointAt(0)) % 997;
	const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
	return { style: `fill:hsl(${hash * 137 % 360} 58% ${(dark ? 62 : 74) + hash % 3 * 3}%)` };
}

/* Which boxes a view shows, and where: {box, row, x, width, parent, more}. */
function place(smallest) {
	const shown = [];
	const full = width - 2 * MARGIN;
	const above = [];
	for (let box = zoom.parent; box; box = box.parent)
		above.unshift(box);
	const skipped = Math.max(0, above.length - MAX_ANCESTORS);
	if (skipped)
		above.splice(1, skipped);
	above.forEach((box, row) => shown.push({ box, row, x: MARGIN, width: full, parent: true,
		skipped: row === 1 ? skipped : 0 }));
	const first = above.length;
	const stack = [{ box: zoom, row: first, x: MARGIN, width: full }];
	while (stack.length) {
		const at = stack.pop();
		const children = callers(at.box);
		shown.push(at);
		if (at.row - first >= MAX_ROWS - 1) {
			at.more = children.length > 0;
			continue;
		}
		let x = at.x;
		for (const box of children) {
			const part = full * box.total / zoom.total;
			if (part >= smallest)
				stack.push({ box, row: at.row + 1, x, width: part });
			x += part;
		}
	}
	return shown;
}

/* Neighbours stay apart where there is room. */
const visible = size => (size > 3 ? size - 0.7 : size);

function drawBox(at, rows, into) {
	const { box } = at;
	const group = make("g", { class: "func_g" }, into);
	const y = top + (flame ? rows - 1 - at.row : at.row) * ROW;
	if (at.parent)
		group.classList.add("parent");
	if (at.more)
		group.classList.add("more");
	if (pattern)
		group.classList.add(isMatch(box.frame) ? "match" : "dim");
	make("title", {}, group).textContent = describe(box, "\n") +
		(at.more ? "\nclick to see what is beyond" : "");
	make("rect", { x: at.x.toFixed(2), y, width: visible(at.width).toFixed(2),
		height: ROW - 1, rx: 1, ...colour(box.frame) }, group);
	let label = fit(box.frame, at.width - 6);
	if (at.skipped)
		label = `… ${at.skipped} more … ` + label;
	if (label)
		make("text", { x: (at.x + 3).toFixed(2), y: y + 13 }, group).textContent = label;
	at.element = group;
	group.scprof = at;
}

function draw() {
	let smallest = SMALLEST_PX;
	let shown = place(smallest);
	while (shown.length > MAX_BOXES) {
		smallest *= 1.5;
		shown = place(smallest);
	}
	const rows = shown.reduce((most, at) => Math.max(most, at.row + 1), 1);
	const fresh = stage.cloneNode(false);
	for (const at of shown)
		drawBox(at, rows, fresh);
	stage.replaceChildren(...fresh.childNodes);
	drawn = shown;
	contentHeight = top + rows * ROW + MARGIN;
	setHeight();
	byId("unzoom").classList.toggle("hide", zoom.parent === null);
	mark(drawn.some(at => at.box === selected) ? selected : null);
	showMatched();
	keepState();
}

/* --- search ------------------------------------------------------------------------------- */

const isMatch = frame => pattern.test(frame.label) || pattern.test(frame.place);

/* What the view's boxes with a matching frame on their stack cost, each counted once. */
function showMatched() {
	matched.classList.toggle("hide", !pattern);
	if (!pattern)
		return;
	let total = 0;
	const from = callersMode ? tree : zoom;
	const stack = [from];
	const hits = new Map();
	while (stack.length) {
		const box = stack.pop();
		if (!hits.has(box.frame))
			hits.set(box.frame, isMatch(box.frame));
		if (hits.get(box.frame))
			total += box.total;
		else
			stack.push(...box.children);
	}
	matched.textContent = "Matched: " + percent(total, from.total) + " · " + amount(total);
}

function search(text) {
	pattern = null;
	field.classList.remove("bad");
	if (text) {
		try {
			pattern = new RegExp(text, /[A-Z]/.test(text) ? "u" : "iu");
		} catch (error) {
			field.classList.add("bad");
		}
	}
	draw();
}

function nextMatch(step) {
	const hits = drawn.filter(at => pattern && isMatch(at.box.frame));
	if (!hits.length)
		return;
	const now = hits.findIndex(at => at.box === selected);
	select(hits[(now + step + hits.length) % hits.length]);
}

/* --- moving about ------------------------------------------------------------------------- */

function mark(box) {
	for (const at of drawn)
		at.element.classList.toggle("selected", at.box === box);
	selected = box;
	if (!box && zoom.parent)
		box = zoom;
	details.textContent = box ? describe(box, "  ·  ") : hint;
}

function select(at) {
	mark(at.box);
	if (!alone)
		return;
	const place = at.element.getBoundingClientRect();
	if (place.top < top || place.bottom > window.innerHeight)
		window.scrollBy(0, place.top - window.innerHeight / 2);
}

function zoomTo(box) {
	zoom = box;
	selected = null;
	draw();
}

function reset() {
	zoomTo(callersMode ? inverted : tree);
}

function toggleCallers() {
	callersMode = !callersMode;
	if (callersMode && !inverted)
		inverted = buildCallers();
	byId("invert").classList.toggle("on", callersMode);
	reset();
}

function toggleFlip() {
	flame = !flame;
	byId("flip").classList.toggle("on", flame);
	draw();
	if (alone)
		window.scrollTo(0, flame ? document.documentElement.scrollHeight : 0);
}

function toggleColours() {
	byFile = !byFile;
	byId("colours").classList.toggle("on", byFile);
	draw();
}

/* rows: +1 away from the root; columns: +1 to the right. */
function move(rows, columns) {
	const now = drawn.find(at => at.box === selected) || drawn.find(at => at.box === zoom);
	let best = null;
	if (!selected) {
		select(now);
		return;
	}
	for (const at of drawn) {
		if (at.row !== now.row + rows || at === now)
			continue;
		const side = at.x - now.x;
		if (rows > 0 && at.box.parent !== now.box && !at.parent)
			continue;
		if (rows < 0 && at.box !== now.box.parent && !now.parent)
			continue;
		if (columns && side * columns <= 0)
			continue;
		if (!best || (columns ? Math.abs(side) < Math.abs(best.x - now.x)
			: at.width > best.width))
			best = at;
	}
	if (best)
		select(best);
}

/* --- controls ----------------------------------------------------------------------------- */

const hint = "click: zoom · arrows, Enter: the same by keyboard · / or Ctrl-F: search · ?: all keys";
const keys = [
	["click, Enter", "zoom into a box"], ["Backspace", "zoom out one box"],
	["Escape, r", "the whole again"], ["arrows", "go from box to box"],
	["/, Ctrl-F, F3", "search, a regular expression"], ["n, N", "next, previous match"],
	["s", "search the selected function"], ["v", "callers: what runs first, its callers below"],
	["f", "root at the bottom"], ["c", "colours by file"], ["?", "this list"],
];

const field = document.createElementNS(XHTML, "input");
let help = null;

const helpHeight = keys.length * 20 + 20;

function setHeight() {
	svg.setAttribute("height", Math.max(contentHeight, help ? top + helpHeight + MARGIN : 0));
}

function toggleHelp() {
	if (help) {
		help.remove();
		help = null;
		setHeight();
		return;
	}
	help = make("g", {}, head);
	const x = Math.max(MARGIN, width - 420);
	make("rect", { class: "panel", x, y: top, width: 400, height: helpHeight, rx: 6 }, help);
	keys.forEach(([key, meaning], i) => {
		const y = top + 25 + i * 20;
		make("text", { x: x + 14, y, "font-weight": "bold" }, help).textContent = key;
		make("text", { x: x + 130, y }, help).textContent = meaning;
	});
	help.addEventListener("click", toggleHelp);
	setHeight();
}

function button(id, text, action) {
	let element = byId(id);
	if (!element)
		element = make("text", { id }, head);
	element.setAttribute("class", "button");
	element.textContent = text;
	element.addEventListener("click", action);
	return element;
}

function makeControls() {
	const box = make("foreignObject", { id: "field", y: 29, width: 220, height: 26 }, head);
	field.setAttribute("class", "field");
	field.setAttribute("type", "text");
	field.setAttribute("placeholder", "regular expression");
	field.setAttribute("aria-label", "search");
	field.setAttribute("spellcheck", "false");
	box.appendChild(field);
	let timer = 0;
	field.addEventListener("input", () => {
		clearTimeout(timer);
		timer = setTimeout(() => search(field.value), 120);
	});
	field.addEventListener("keydown", event => {
		event.stopPropagation();
		if (event.key === "Enter") {
			clearTimeout(timer);
			search(field.value);
			field.blur();
		} else if (event.key === "Escape") {
			field.value = "";
			search("");
			field.blur();
		}
	});
	button("unzoom", "Reset zoom", reset);
	button("search", "Search", () => field.focus());
	button("invert", "Callers", toggleCallers);
	button("flip", "Flip", toggleFlip);
	button("colours", "Colours", toggleColours);
	button("help", "Help", toggleHelp);
	stage.after(head); /* over the boxes, which scroll below it */
}

function layoutControls() {
	const legend = byId("legend").getBBox().width;
	let x = width - MARGIN;
	for (const id of ["help", "colours", "flip", "invert", "unzoom"]) {
		const element = byId(id);
		x -= measure(element.textContent) * 1.05;
		element.setAttribute("x", x);
		x -= 16;
	}
	const narrow = legend + MARGIN > x;
	for (const id of ["help", "colours", "flip", "invert", "unzoom"])
		byId(id).setAttribute("y", narrow ? 88 : 66);
	top = narrow ? TOP + 22 : TOP;
	details.setAttribute("y", narrow ? 110 : 88);
	head.querySelector(".back").setAttribute("height", top - 2);
	layoutSearch();
	fitTitle();
}

/* The search field takes what the line of figures leaves, down to a width that is still of use. */
function layoutSearch() {
	const room = width - 3 * MARGIN - byId("subtitle").getBBox().width;
	const word = measure("Search") + 12;
	const size = Math.max(110, Math.min(220, room > 220 + word ? 220 : room));
	const box = byId("field");
	box.setAttribute("x", width - MARGIN - size);
	box.setAttribute("width", size);
	byId("search").classList.toggle("hide", room < size + word);
	byId("search").setAttribute("x", width - MARGIN - size - word);
	byId("search").setAttribute("y", 46);
	matched.setAttribute("x", width - MARGIN);
	matched.setAttribute("y", 20);
}

/* The matches stand behind it. */
function fitTitle() {
	const title = byId("title");
	const whole = Array.from(svg.querySelector("title").textContent);
	let count = whole.length;
	title.textContent = whole.join("");
	while (count > 10 && title.getComputedTextLength() > width - 2 * MARGIN - 190)
		title.textContent = whole.slice(0, count -= 3).join("") + "…";
}

function resize() {
	const now = svg.getBoundingClientRect().width;
	if (now > 0)
		width = Math.max(320, now);
	layoutControls();
	draw();
}

function follow() {
	head.setAttribute("transform", `translate(0,${Math.max(0, window.scrollY)})`);
}

function onKey(event) {
	const actions = {
		"/": () => field.focus(), "F3": () => field.focus(),
		"Escape": () => (help ? toggleHelp() : reset()), "r": reset, "Home": reset,
		"Backspace": () => zoom.parent && zoomTo(zoom.parent),
		"Enter": () => selected && zoomTo(selected),
		"n": () => nextMatch(1), "N": () => nextMatch(-1),
		"s": () => {
			if (!selected)
				return;
			field.value = "^" + selected.frame.label.replace(/[\\^$.*+?()[\]{}|\/]/g, "\\$&") + "$";
			search(field.value);
		},
		"v": toggleCallers, "f": toggleFlip, "c": toggleColours, "?": toggleHelp,
		"ArrowDown": () => move(flame ? -1 : 1, 0), "ArrowUp": () => move(flame ? 1 : -1, 0),
		"ArrowLeft": () => move(0, -1), "ArrowRight": () => move(0, 1),
	};
	const find = (event.ctrlKey || event.metaKey) && event.key === "f";
	if (!find && (event.ctrlKey || event.metaKey || event.altKey))
		return;
	const action = find ? actions["/"] : actions[event.key];
	if (action) {
		event.preventDefault();
		action();
	}
}

/* The view is in the address, so that it survives a reload and can be passed on. */
function keepState() {
	const parts = [];
	if (pattern)
		parts.push("q=" + encodeURIComponent(pattern.source));
	if (zoom.id > 0)
		parts.push("z=" + zoom.id);
	if (callersMode)
		parts.push("v=1");
	if (flame)
		parts.push("f=1");
	try {
		if (alone)
			history.replaceState(null, "", parts.length ? "#" + parts.join("&") : "#");
	} catch (error) {
		/* Not every place that shows a file allows it. */
	}
}

function restoreState() {
	const state = new URLSearchParams(location.hash.slice(1));
	if (!alone)
		return;
	if (state.get("v")) {
		callersMode = true;
		zoom = inverted = buildCallers();
		byId("invert").classList.add("on");
	}
	if (boxes[state.get("z")] && !callersMode)
		zoom = boxes[state.get("z")];
	flame = state.get("f") !== null;
	byId("flip").classList.toggle("on", flame);
	if (state.get("q")) {
		field.value = state.get("q");
		search(field.value);
	}
}

function boxAt(event) {
	const group = event.target.closest("#frames > g");
	return group && group.scprof;
}

function start() {
	svg.classList.remove("static");
	svg.removeAttribute("viewBox");
	svg.removeAttribute("style");
	svg.setAttribute("width", "100%");
	makeControls();
	stage.addEventListener("click", event => {
		const at = boxAt(event);
		if (at)
			zoomTo(at.box);
	});
	stage.addEventListener("mouseover", event => {
		const at = boxAt(event);
		if (at)
			details.textContent = describe(at.box, "  ·  ");
	});
	stage.addEventListener("mouseleave", () => mark(selected));
	(alone ? window : svg).addEventListener("keydown", onKey);
	window.addEventListener("resize", () => requestAnimationFrame(resize));
	if (alone)
		window.addEventListener("scroll", follow);
	window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
	restoreState();
	resize();
}

start();
})();
