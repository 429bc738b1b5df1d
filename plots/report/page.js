'use strict';
// Unpacks the data, keeps the selected options, and draws the charts of the selected curves.

(() => {
  const { make, csv, save } = Tables;
  const { count, number } = Sections;
  const id = (name) => document.getElementById(name);
  const shown = (value) => number(value, data.digits);
  const MANY = 12; // charts that are drawn at first; more only when they are selected
  const AXES = {
    t: { label: 'transitions', name: 'transitions' },
    share: { label: 'share of the data (%)', name: 'share of the data' },
    g: { label: 'gradient steps', name: 'gradient steps' },
    w: { label: 'wall time (minutes)', name: 'wall time' },
  };
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let data;
  let state;
  let charts = []; // {plot}

  async function unpack() {
    const bytes = Uint8Array.from(atob(id('data').textContent.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Response(stream).json();
  }

  // The selected options, from the address if it names some, and all that can be selected.
  function initialState() {
    const order = Object.keys(data.styles);
    const groups = data.panels.flatMap((panel) => panel.groups).sort((a, b) => order.indexOf(a.style) - order.indexOf(b.style));
    const labels = [...new Set(groups.map((group) => group.label))];
    const titles = data.panels.map((panel) => panel.title);
    const seeds = [...new Set(data.runs.map((run) => run.seed))].sort((a, b) => a - b);
    const fresh = {
      metric: data.metrics.length ? data.metrics[0].name : '', axis: 't', mode: 'mean',
      algorithms: new Set(labels), datasets: new Set(titles.slice(0, MANY)), seeds: new Set(seeds),
    };
    const all = { algorithms: labels, datasets: titles, seeds };
    const address = new URLSearchParams(location.hash.slice(1));
    if (data.metrics.some((metric) => metric.name === address.get('metric'))) fresh.metric = address.get('metric');
    if (address.get('axis') in AXES) fresh.axis = address.get('axis');
    if (address.get('mode') === 'seeds') fresh.mode = 'seeds';
    for (const [name, values] of Object.entries(all)) {
      if (address.has(name)) fresh[name] = new Set(address.getAll(name).filter((place) => /^\d+$/.test(place) && place < values.length).map((place) => values[place]));
    }
    return [fresh, all];
  }

  // Writes the selected options into the address, so that a view can be shared.
  function updateAddress(all) {
    const options = new URLSearchParams({ metric: state.metric, axis: state.axis, mode: state.mode });
    for (const [name, values] of Object.entries(all)) {
      if (values.every((value) => state[name].has(value))) continue;
      // Indices, not names, which may be long. An index that does not exist means that none is selected.
      const places = values.flatMap((value, place) => (state[name].has(value) ? [place] : []));
      for (const place of places.length ? places : ['none']) options.append(name, place);
    }
    history.replaceState(null, '', `#${options}`);
  }

  function controls(all) {
    const changed = () => { updateAddress(all); draw(); };
    const choose = (name, options) => {
      const select = id(name);
      if (options) select.replaceChildren(...options.map(([value, text]) => make('option', { value }, text)));
      select.value = state[name];
      select.onchange = () => { state[name] = select.value; changed(); };
    };
    choose('metric', data.metrics.map((metric) => [metric.name, metric.label]));
    const timed = data.runs.some((run) => run.w.some((seconds) => seconds !== null));
    if (!timed && state.axis === 'w') state.axis = 't';
    choose('axis', Object.entries(AXES).filter(([key]) => key !== 'w' || timed).map(([key, axis]) => [key, axis.name]));
    choose('mode');
    const boxes = (name, texts = (value) => value, mark = null) => {
      const inputs = all[name].map((value) => {
        const input = make('input', { type: 'checkbox', checked: state[name].has(value) });
        input.onchange = () => { state[name][input.checked ? 'add' : 'delete'](value); changed(); };
        return [input, value];
      });
      const every = (on) => {
        state[name] = new Set(on ? all[name] : []);
        inputs.forEach(([input]) => { input.checked = on; });
        changed();
      };
      const buttons = all[name].length > 3
        ? [make('button', { type: 'button', onclick: () => every(true) }, 'all'), make('button', { type: 'button', onclick: () => every(false) }, 'none')] : [];
      id(name).append(...buttons, ...inputs.map(([input, value]) => make('label', {}, input, ...(mark ? [mark(value)] : []), ` ${texts(value)}`)));
    };
    boxes('seeds', String);
    boxes('algorithms', (label) => label, swatch);
    boxes('datasets');
    id('controls').onsubmit = (event) => event.preventDefault();
  }

  const styleOf = (label) => {
    for (const panel of data.panels) for (const group of panel.groups) if (group.label === label) return data.styles[group.style];
    return null;
  };
  const colorOf = (style) => (dark.matches ? style.dark : style.light);
  const swatches = [];

  function swatch(label) {
    const canvas = make('canvas', { width: 72, height: 20, 'aria-hidden': 'true' });
    canvas.style.width = '36px';
    canvas.style.height = '10px';
    const style = styleOf(label);
    const paint = () => {
      const ctx = canvas.getContext('2d');
      ctx.clearRect(0, 0, 72, 20);
      ctx.strokeStyle = colorOf(style);
      ctx.lineWidth = 4;
      ctx.setLineDash(style.dash.map((length) => 2 * length));
      ctx.beginPath();
      ctx.moveTo(0, 10);
      ctx.lineTo(72, 10);
      ctx.stroke();
    };
    swatches.push(paint);
    paint();
    return canvas;
  }

  // The x value on the selected axis, from columns p or t (transitions), g (gradient steps) and w (seconds).
  function xOf(panel, columns, place) {
    const t = (columns.p || columns.t)[place];
    if (state.axis === 't') return t;
    if (state.axis === 'share') return 100 * t / (panel.transitions || panel.extent);
    if (state.axis === 'g') return columns.g[place];
    return columns.w[place] === null ? null : columns.w[place] / 60;
  }

  function linesOf(panel) {
    const lines = [];
    for (const group of panel.groups) {
      if (!state.algorithms.has(group.label)) continue;
      const look = { label: group.label, color: colorOf(data.styles[group.style]), dash: data.styles[group.style].dash };
      const members = group.runs.map((number) => data.runs[number]);
      const pointsOf = (run) => (run.metrics[state.metric] || []).map((y, place) => {
        const x = xOf(panel, run, place);
        return { x, y, low: null, high: null, t: run.p[place], seed: run.seed, n: 1,
          text: `${group.label}, seed ${run.seed}\n${shown(run.p[place])} transitions${aside(x)}\n${shown(y)}` };
      });
      const lasts = (runs) => runs.filter((run) => run.status === 'failed').flatMap((run) => pointsOf(run).slice(-1));
      if (state.mode === 'seeds') {
        for (const run of members.filter((member) => state.seeds.has(member.seed))) {
          lines.push({ ...look, complete: run.status === 'finished', points: pointsOf(run), failed: lasts([run]) });
        }
        continue;
      }
      for (const part of group.curves[state.metric] || []) {
        lines.push({ ...look, complete: part.complete, failed: [], points: part.c.map((y, place) => {
          const x = xOf(panel, part, place);
          const [low, high] = part.l ? [part.l[place], part.h[place]] : [null, null];
          const interval = part.l ? `interval ${shown(low)} to ${shown(high)}` : 'no interval';
          return { x, y, low, high, t: part.t[place], seed: '', n: part.n,
            text: `${group.label}\n${shown(part.t[place])} transitions${aside(x)}\n${shown(y)}\n${interval}\n${count(part.n, 'seed')}${part.n < members.length ? ` of ${members.length}` : ''}` };
        }) });
      }
      const own = lines.filter((line) => line.label === group.label);
      if (own.length) own[0].failed = lasts(members);
    }
    return lines;
  }

  const aside = (x) => (state.axis === 't' || x === null ? '' : `, ${shown(+x.toPrecision(4))} ${AXES[state.axis].label}`);

  function specOf(panel) {
    const metric = data.metrics.find((each) => each.name === state.metric);
    const lines = linesOf(panel);
    // Block boundaries are known in transitions, not in gradient steps or minutes.
    const scale = { t: 1, share: 100 / (panel.transitions || panel.extent) }[state.axis];
    const scaled = (spans, first) => (scale ? spans.map((span) => span.map((value, place) => (place >= first && place < first + 2 ? value * scale : value))) : []);
    return {
      title: panel.title, xLabel: AXES[state.axis].label, yLabel: metric ? metric.label : '', lines,
      stretches: scaled(panel.stretches, 1), means: state.metric === panel.metric ? scaled(panel.datasetMeans, 0) : [],
      end: scale ? panel.extent * scale * 1.01 : 0,
    };
  }

  function draw() {
    charts.forEach(({ plot }) => plot.destroy());
    charts = [];
    const panels = data.panels.filter((panel) => state.datasets.has(panel.title));
    id('explained').textContent = explained(panels);
    for (const input of id('seeds').querySelectorAll('input, button')) input.disabled = state.mode === 'mean';
    const cards = panels.map((panel) => make('article', { className: 'panel', 'aria-label': panel.title }));
    id('panels').replaceChildren(...cards);
    panels.forEach((panel, place) => card(cards[place], panel));
  }

  function card(element, panel) {
    const spec = specOf(panel);
    const chart = make('div', { className: 'chart', tabIndex: 0, role: 'img', 'aria-roledescription': 'chart' });
    chart.setAttribute('aria-label', `${spec.yLabel} over ${spec.xLabel}, ${panel.title}. Arrow keys read out the points.`);
    const say = make('p', { className: 'note', 'aria-live': 'polite' });
    say.style.whiteSpace = 'pre-wrap';
    say.hidden = true; // shown for the keyboard; the pointer has the box at the point
    const buttons = make('div', { className: 'buttons' });
    const place = make('p', { className: 'note' }, panelNote(panel, spec));
    element.append(make('h3', {}, panel.title), chart, say, place, buttons);
    const plot = Charts.draw(chart, spec);
    const { reset } = Charts.interact(chart, plot, spec, say);
    chart.addEventListener('keydown', () => { say.hidden = false; });
    const named = `${panel.title}-${state.metric}`;
    buttons.append(
      make('button', { type: 'button', onclick: reset }, 'Reset zoom'),
      make('button', { type: 'button', onclick: () => save(csv(drawnRows(panel, spec)), `${named}.csv`) }, 'CSV of the chart'),
      make('button', { type: 'button', onclick: () => Charts.image(plot, spec, (blob) => save(blob, `${named}.png`)) }, 'PNG'),
    );
    charts.push({ plot });
  }

  function panelNote(panel, spec) {
    const parts = [];
    if (panel.stretches.length > 1) parts.push(`Data: ${panel.stretches.map(([name, start, stop]) => `${name} ${shown(start)} to ${shown(stop)}`).join(', ')} transitions.`);
    if (spec.means.length) parts.push(`Dashed: the dataset's mean score, ${spec.means.map(([, , value]) => shown(+value.toPrecision(3))).join(', ')}.`);
    if (!spec.lines.some((line) => line.drawn ? line.drawn.length : line.points.length)) parts.push('Nothing to draw: no selected algorithm has this metric here.');
    const bad = panel.groups.filter((group) => state.algorithms.has(group.label)).flatMap((group) => group.runs)
      .map((number) => (data.runs[number].metrics[state.metric] || []).filter((value) => value === null).length).reduce((a, b) => a + b, 0);
    if (bad) parts.push(`${count(bad, 'evaluation')} without a finite number left out.`);
    return parts.join(' ');
  }

  function drawnRows(panel, spec) {
    const head = ['dataset', 'algorithm', 'seed', 'metric', 'transitions', spec.xLabel, 'value', 'low', 'high', 'seeds'];
    return [head, ...spec.lines.flatMap((line) => line.drawn.map((p) => [panel.title, line.label, p.seed, state.metric, p.t, p.x, p.y, p.low, p.high, p.n]))];
  }

  function explained(panels) {
    const sentences = [];
    const most = Math.max(0, ...panels.flatMap((panel) => panel.groups.map((group) => group.runs.length)));
    if (state.mode === 'mean') {
      sentences.push(most < 2 ? 'One seed per curve, so no interval is drawn.'
        : `${most >= 4 ? 'Interquartile mean over seeds (mean below 4)' : 'Mean over seeds'}, shaded: 95 % bootstrap interval, none where there is one seed. Seeds can be selected when each seed is drawn.`);
      sentences.push('Faded: not every seed has reached this point, or none has finished.');
    } else sentences.push('One line per seed; faded: not finished.');
    if (data.runs.some((run) => run.status === 'failed')) sentences.push('Cross: where a failed run ended.');
    if (state.axis === 'w') sentences.push('Wall time is training and evaluation; runs of a run group share it.');
    if (state.axis === 'w' || state.axis === 'g') sentences.push('Block boundaries and the dataset\'s mean score are drawn over transitions and share of the data only.');
    if (data.panels.length > panels.length) sentences.push(`Drawn: ${panels.length} of ${data.panels.length} datasets.`);
    return sentences.join(' ');
  }

  // All embedded evaluations in long format.
  function longRows() {
    const rows = [data.longColumns];
    for (const run of data.runs) {
      run.t.forEach((t, place) => {
        for (const [metric, values] of Object.entries(run.metrics)) {
          if (values[place] !== null) rows.push([run.run, run.dataset, run.longName, run.seed, run.phase[place], run.block[place], t, run.g[place], run.e[place], metric, values[place], run.settings, run.static, run.usesFutureData]);
        }
      });
    }
    return rows;
  }

  async function start() {
    data = await unpack();
    id('data').remove();
    const [fresh, all] = initialState();
    state = fresh;
    Sections.header(data);
    controls(all);
    draw();
    Sections.boards(data);
    Sections.runList(data);
    Sections.madeWith(data);
    id('download-all').onclick = () => save(csv(longRows()), `${data.name}-long.csv`);
    id('download-note').textContent = `In long format, to ${data.digits} digits; seqeval export writes all digits.`;
    dark.addEventListener('change', () => { swatches.forEach((paint) => paint()); draw(); });
    let width = id('panels').clientWidth;
    addEventListener('resize', () => { if (id('panels').clientWidth !== width) { width = id('panels').clientWidth; draw(); } });
    document.documentElement.dataset.ready = 'yes';
  }

  start();
})();
