'use strict';
// Unpacks the data, holds what is chosen, and builds the page from it.

(() => {
  const { make, sortable, csv, save } = Tables;
  const id = (name) => document.getElementById(name);
  const MANY = 12; // pictures that are drawn before more are asked for
  const AXES = {
    t: { label: 'transitions', name: 'transitions' },
    share: { label: 'share of the log (%)', name: 'share of the log' },
    g: { label: 'gradient steps', name: 'gradient steps' },
    w: { label: 'wall time (minutes)', name: 'wall time' },
  };
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let data;
  let state;
  let pictures = []; // {plot, spec, element, panel}

  const count = (number, singular, plural = `${singular}s`) => `${number.toLocaleString('en')} ${number === 1 ? singular : plural}`;
  const shown = (number) => (number === null || number === undefined ? '–' : number.toLocaleString('en', { maximumSignificantDigits: data.digits }));
  const duration = (seconds) => (seconds === null ? '–' : seconds < 90 ? `${Math.round(seconds)} s`
    : seconds < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`);

  async function unpack() {
    const bytes = Uint8Array.from(atob(id('data').textContent.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    return new Response(stream).json();
  }

  // What is chosen, in the address too, so that a view can be shared.
  function begin() {
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
    const asked = new URLSearchParams(location.hash.slice(1));
    if (data.metrics.some((metric) => metric.name === asked.get('metric'))) fresh.metric = asked.get('metric');
    if (asked.get('axis') in AXES) fresh.axis = asked.get('axis');
    if (asked.get('mode') === 'seeds') fresh.mode = 'seeds';
    for (const [name, values] of Object.entries(all)) {
      if (asked.has(name)) fresh[name] = new Set(asked.getAll(name).filter((place) => /^\d+$/.test(place) && place < values.length).map((place) => values[place]));
    }
    return [fresh, all];
  }

  function remember(all) {
    const said = new URLSearchParams({ metric: state.metric, axis: state.axis, mode: state.mode });
    for (const [name, values] of Object.entries(all)) {
      if (values.every((value) => state[name].has(value))) continue;
      // Places, not names: names may be long. One that does not exist says that none is chosen.
      const places = values.flatMap((value, place) => (state[name].has(value) ? [place] : []));
      for (const place of places.length ? places : ['none']) said.append(name, place);
    }
    history.replaceState(null, '', `#${said}`);
  }

  function controls(all) {
    const changed = () => { remember(all); draw(); };
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
  const colourOf = (style) => (dark.matches ? style.dark : style.light);
  const swatches = [];

  function swatch(label) {
    const canvas = make('canvas', { width: 72, height: 20, 'aria-hidden': 'true' });
    canvas.style.width = '36px';
    canvas.style.height = '10px';
    const style = styleOf(label);
    const paint = () => {
      const ctx = canvas.getContext('2d');
      ctx.clearRect(0, 0, 72, 20);
      ctx.strokeStyle = colourOf(style);
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

  // Of columns p or t (place), g and w: x on the axis that is chosen.
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
      const look = { label: group.label, colour: colourOf(data.styles[group.style]), dash: data.styles[group.style].dash };
      const members = group.runs.map((number) => data.runs[number]);
      const pointsOf = (run) => (run.metrics[state.metric] || []).map((y, place) => {
        const x = xOf(panel, run, place);
        return { x, y, low: null, high: null, t: run.p[place], seed: run.seed, n: 1,
          text: `${group.label}, seed ${run.seed}\n${shown(run.p[place])} transitions${aside(x)}\n${shown(y)}` };
      });
      const lasts = (runs) => runs.filter((run) => run.status === 'failed').flatMap((run) => pointsOf(run).slice(-1));
      if (state.mode === 'seeds') {
        for (const run of members.filter((member) => state.seeds.has(member.seed))) {
          lines.push({ ...look, whole: run.status === 'finished', points: pointsOf(run), failed: lasts([run]) });
        }
        continue;
      }
      for (const part of group.curves[state.metric] || []) {
        lines.push({ ...look, whole: part.whole, failed: [], points: part.c.map((y, place) => {
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
    // Where blocks lie is known in transitions, not in gradient steps or minutes.
    const scale = { t: 1, share: 100 / (panel.transitions || panel.extent) }[state.axis];
    const scaled = (spans, first) => (scale ? spans.map((span) => span.map((value, place) => (place >= first && place < first + 2 ? value * scale : value))) : []);
    return {
      title: panel.title, xLabel: AXES[state.axis].label, yLabel: metric ? metric.label : '', lines,
      stretches: scaled(panel.stretches, 1), means: state.metric === 'score' ? scaled(panel.datasetMeans, 0) : [],
      end: scale ? panel.extent * scale * 1.01 : 0,
    };
  }

  function draw() {
    pictures.forEach(({ plot }) => plot.destroy());
    pictures = [];
    const panels = data.panels.filter((panel) => state.datasets.has(panel.title));
    id('explained').textContent = explained(panels);
    for (const input of id('seeds').querySelectorAll('input, button')) input.disabled = state.mode === 'mean';
    const cards = panels.map((panel) => make('article', { className: 'panel', 'aria-label': panel.title }));
    id('panels').replaceChildren(...cards);
    panels.forEach((panel, place) => card(cards[place], panel));
  }

  function card(element, panel) {
    const spec = specOf(panel);
    const picture = make('div', { className: 'picture', tabIndex: 0, role: 'img', 'aria-roledescription': 'chart' });
    picture.setAttribute('aria-label', `${spec.yLabel} over ${spec.xLabel}, ${panel.title}. Arrow keys read out the points.`);
    const say = make('p', { className: 'note', 'aria-live': 'polite' });
    say.style.whiteSpace = 'pre-wrap';
    say.hidden = true; // until a key asks for it; the pointer has the box at the point
    const buttons = make('div', { className: 'buttons' });
    const place = make('p', { className: 'note' }, panelNote(panel, spec));
    element.append(make('h3', {}, panel.title), picture, say, place, buttons);
    const plot = Charts.draw(picture, spec);
    const { reset } = Charts.interact(picture, plot, spec, say);
    picture.addEventListener('keydown', () => { say.hidden = false; });
    const named = `${panel.title}-${state.metric}`;
    buttons.append(
      make('button', { type: 'button', onclick: reset }, 'Reset zoom'),
      make('button', { type: 'button', onclick: () => save(csv(drawnRows(panel, spec)), `${named}.csv`) }, 'CSV of the picture'),
      make('button', { type: 'button', onclick: () => Charts.picture(plot, spec, (blob) => save(blob, `${named}.png`)) }, 'PNG'),
    );
    pictures.push({ plot, spec, element: picture, panel });
  }

  function panelNote(panel, spec) {
    const parts = [];
    if (panel.stretches.length > 1) parts.push(`Data: ${panel.stretches.map(([name, start, stop]) => `${name} ${shown(start)} to ${shown(stop)}`).join(', ')} transitions.`);
    if (spec.means.length) parts.push(`Dashed: the log's mean score, ${spec.means.map(([, , value]) => shown(+value.toPrecision(3))).join(', ')}.`);
    if (!spec.lines.some((line) => line.drawn ? line.drawn.length : line.points.length)) parts.push('Nothing to draw: no algorithm that is chosen has this metric here.');
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
        : `${most >= 4 ? 'Interquartile mean over seeds (mean below 4)' : 'Mean over seeds'}, shaded: 95 % bootstrap interval, none where there is one seed. Seeds are chosen when each seed is drawn.`);
      sentences.push('Faded: where not every seed has got that far, or none has finished.');
    } else sentences.push('One line per seed; faded: not finished.');
    if (data.runs.some((run) => run.status === 'failed')) sentences.push('Cross: where a failed run ended.');
    if (state.axis === 'w') sentences.push('Wall time is training and evaluation; runs that train side by side share it.');
    if (state.axis === 'w' || state.axis === 'g') sentences.push('Block boundaries and the log\'s mean are drawn over transitions and share of the log.');
    if (data.panels.length > panels.length) sentences.push(`Drawn: ${panels.length} of ${data.panels.length} datasets.`);
    return sentences.join(' ');
  }

  // Every embedded evaluation in long format.
  function longRows() {
    const rows = [data.longColumns];
    for (const run of data.runs) {
      run.t.forEach((t, place) => {
        for (const [metric, values] of Object.entries(run.metrics)) {
          if (values[place] !== null) rows.push([run.run, run.dataset, run.longName, run.seed, run.phase[place], run.block[place], t, run.g[place], run.e[place], metric, values[place]]);
        }
      });
    }
    return rows;
  }

  function header() {
    const { runs } = data;
    const having = (status) => runs.filter((run) => run.status === status).length;
    const distinct = (of) => [...new Set(runs.map(of))];
    document.title = `${data.name} – sequential evaluation`;
    id('title').textContent = data.name;
    const states = ['finished', 'unfinished', 'failed'].filter(having).map((status) => `${having(status)} ${status}`).join(', ');
    id('summary').textContent = `${count(runs.length, 'run')} (${states}) on ${count(data.panels.length, 'dataset')}; suite ${distinct((run) => run.suite).join(', ')}; seeds ${distinct((run) => run.seed).sort((a, b) => a - b).join(', ')}.`;
    const notice = (text) => id('notices').append(make('p', { className: 'notice' }, text));
    const future = runs.filter((run) => run.usesFutureData).length;
    if (future) notice(`${count(future, 'run')} used future data: something computed from transitions that were not visible yet (a normaliser or a reward scale over the full dataset, or a schedule that knows its length) reached the algorithm. Such curves say (uses future data), and are not comparable with the others.`);
    if (distinct((run) => run.suite).length > 1) notice('Several suites are in this folder. Runs of different suites or settings are never averaged together: they are curves of their own, named by what differs.');
    const versions = distinct((run) => run.dataset).length < data.panels.length;
    if (versions) notice('Some datasets are there in several versions (of the data or of the task). They are pictures of their own, named by what differs.');
    if (data.damagedRuns.length || data.damagedLines.length) notice(`Left out, since they cannot be read: ${count(data.damagedRuns.length, 'run')} and ${count(data.damagedLines.length, 'line')}; listed under Runs.`);
    if (!data.metrics.length) notice('No run has been evaluated yet.');
    else if (!data.metrics.some((metric) => metric.name === 'score')) notice('No scores: nothing was played in an environment. The curves are of what was measured without one.');
    if (data.leftOut.length) notice(`Not in this file, to keep it small: ${data.leftOut.join(', ')}. seqeval export has them.`);
  }

  function boards() {
    const tabs = make('div', { role: 'tablist', 'aria-label': 'Leaderboards' });
    const bodies = data.leaderboards.map((board, place) => {
      const body = make('div', { id: `board-${place}`, role: 'tabpanel', 'aria-labelledby': `tab-${place}`, hidden: place > 0 });
      if (board.reason) {
        body.append(make('p', {}, `Cannot be computed: ${board.reason}`));
        return body;
      }
      const columns = [
        { name: 'dataset' }, { name: 'algorithm' }, { name: 'seeds', number: true, descending: true }, { name: 'log\'s mean', number: true, descending: true },
        ...board.quantities.map((name, at) => ({ name, number: true, descending: !board.lower[at] })),
      ];
      const rows = board.rows.map((row) => [
        { text: row.dataset, key: row.dataset, className: 'long' }, { text: row.algorithm, key: row.algorithm, className: 'long' },
        { text: row.count, key: row.runs }, { text: row.datasetMeanText, key: row.datasetMean },
        ...row.cells.map((cell) => ({ text: cell.text, key: cell.value, small: [cell.interval, cell.runs].filter(Boolean).join(' ') })),
      ]);
      const raw = () => [
        ['dataset', 'algorithm', 'runs', 'log_mean', ...board.quantities.flatMap((name) => [name, `${name} interval`])],
        ...board.rows.map((row) => [row.dataset, row.algorithm, row.runs, row.datasetMean, ...row.cells.flatMap((cell) => [cell.value, cell.interval])]),
      ];
      body.append(
        sortable(`Leaderboard, ${board.name}`, columns, rows),
        make('p', { className: 'note' }, `${board.caption} Small: the interval, and how many runs have the number where not all do. A header sorts by its column.`),
        make('button', { type: 'button', onclick: () => save(csv(raw()), `leaderboard-${place + 1}.csv`) }, 'CSV of the table'),
      );
      return body;
    });
    const buttons = data.leaderboards.map((board, place) => make('button', { type: 'button', role: 'tab', id: `tab-${place}`, 'aria-controls': `board-${place}` }, board.name));
    const select = (chosen) => buttons.forEach((button, place) => {
      button.setAttribute('aria-selected', String(place === chosen));
      button.tabIndex = place === chosen ? 0 : -1;
      bodies[place].hidden = place !== chosen;
    });
    buttons.forEach((button, place) => {
      button.onclick = () => select(place);
      button.onkeydown = (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        const next = (place + by + buttons.length) % buttons.length;
        select(next);
        buttons[next].focus();
      };
    });
    select(0);
    tabs.append(...buttons);
    id('boards').append(...(buttons.length > 1 ? [tabs] : []), ...bodies);
  }

  function runList() {
    const columns = ['status', 'dataset', 'algorithm', 'seed', 'evaluations', 'last transitions', 'wall time', 'reason or remark', 'suite', 'uses future data', 'device', 'git revision', 'differs in', 'directory']
      .map((name) => ({ name, number: ['seed', 'evaluations', 'last transitions', 'wall time'].includes(name) }));
    const rank = { failed: '0', unfinished: '1', finished: '2' };
    const plain = (text, className = '') => ({ text: String(text), key: String(text), className });
    const rows = data.runs.map((run) => {
      const last = run.p.length ? run.p[run.p.length - 1] : null;
      const remarks = [run.status === 'failed' ? run.failure || 'failed for a reason that is not recorded' : run.status === 'unfinished' ? `goes on, or was stopped, ${run.expected - run.evaluations} evaluations before its end` : '',
        run.damaged ? `${count(run.damaged, 'damaged line')} left out` : ''].filter(Boolean).join('; ');
      return [
        { text: run.status, key: rank[run.status], className: run.status === 'failed' ? 'failed' : '' },
        plain(run.panel, 'long'), plain(run.algorithm, 'long'), { text: String(run.seed), key: run.seed },
        { text: `${run.evaluations} of ${run.expected}`, key: run.evaluations }, { text: shown(last), key: last },
        { text: duration(run.seconds), key: run.seconds }, plain(remarks, 'long'), plain(run.suite), plain(run.usesFutureData ? 'yes' : 'no'),
        plain(run.device), plain(run.revision), plain(run.differs, 'long'), plain(run.run, 'long'),
      ];
    });
    rows.sort((a, b) => a[0].key.localeCompare(b[0].key));
    id('run-list').append(sortable('Runs', columns, rows));
    const damaged = [...data.damagedRuns, ...data.damagedLines];
    if (damaged.length) id('damage').append(make('h3', {}, 'Damaged and left out'), make('ul', {}, ...damaged.map((text) => make('li', {}, text))));
  }

  function madeWith() {
    const values = (of, total) => of.map(([text, number]) => (of.length === 1 && number === total ? text : `${text} (${count(number, 'run')})`)).join('; ');
    const total = data.runs.length;
    const table = (caption, rows) => sortable(caption, [{ name: 'setting' }, { name: 'value' }], rows.map(([name, text]) => [
      { text: name, key: name }, { text, key: text, className: 'long' }]));
    id('conditions').append(
      make('p', { className: 'note' }, 'Of the runs\' manifests, versions included. Where runs differ, each value has its number of runs.'),
      table('All runs', data.conditions.map((each) => [each.name, values(each.values, total)])),
      ...data.settings.flatMap(({ algorithm, settings }) => [
        make('h3', {}, algorithm),
        table(`Settings of ${algorithm}`, settings.map((each) => [each.name, values(each.values, each.values.reduce((sum, [, number]) => sum + number, 0))])),
      ]),
    );
  }

  async function start() {
    data = await unpack();
    id('data').remove();
    const [fresh, all] = begin();
    state = fresh;
    header();
    controls(all);
    draw();
    boards();
    runList();
    madeWith();
    id('download-all').onclick = () => save(csv(longRows()), `${data.name}-long.csv`);
    id('download-note').textContent = `In long format, to ${data.digits} digits; seqeval export writes all digits.`;
    dark.addEventListener('change', () => { swatches.forEach((paint) => paint()); draw(); });
    let width = id('panels').clientWidth;
    addEventListener('resize', () => { if (id('panels').clientWidth !== width) { width = id('panels').clientWidth; draw(); } });
    document.documentElement.dataset.ready = 'yes';
  }

  start();
})();
