'use strict';
// The parts of the page that do not depend on the selected options: header, leaderboards, list of runs, how they were made.

const Sections = (() => {
  const { make, sortable, csv, save } = Tables;
  const id = (name) => document.getElementById(name);

  const count = (number, singular, plural = `${singular}s`) => `${number.toLocaleString('en')} ${number === 1 ? singular : plural}`;
  const number = (value, digits) => (value === null || value === undefined ? '–' : value.toLocaleString('en', { maximumSignificantDigits: digits }));
  const duration = (seconds) => (seconds === null ? '–' : seconds < 90 ? `${Math.round(seconds)} s`
    : seconds < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`);

  function header(data) {
    const { runs } = data;
    const having = (status) => runs.filter((run) => run.status === status).length;
    const distinct = (of) => [...new Set(runs.map(of))];
    document.title = `${data.name} – sequential evaluation`;
    id('title').textContent = data.name;
    const states = ['finished', 'unfinished', 'failed'].filter(having).map((status) => `${having(status)} ${status}`).join(', ');
    id('summary').textContent = `${count(runs.length, 'run')} (${states}) on ${count(data.panels.length, 'dataset')}; suite ${distinct((run) => run.suite).join(', ')}; seeds ${distinct((run) => run.seed).sort((a, b) => a - b).join(', ')}.`;
    const notice = (text) => id('notices').append(make('p', { className: 'notice' }, text));
    const future = runs.filter((run) => run.usesFutureData).length;
    if (future) notice(`${count(future, 'run')} used future data: the algorithm received something that was computed from transitions not yet visible (normalization or reward scale of the full dataset, or a schedule that knows its length). Their curves are marked (uses future data) and cannot be compared with the others.`);
    if (distinct((run) => run.suite).length > 1) notice('These results are of several suites. Runs of different suites or settings are never averaged together: they have separate curves, named by what differs.');
    const versions = distinct((run) => run.dataset).length < data.panels.length;
    if (versions) notice('Some datasets have several versions (of the data or of the task). They have separate charts, named by what differs.');
    if (data.damagedRuns.length || data.damagedLines.length) notice(`Left out, since they cannot be read: ${count(data.damagedRuns.length, 'run')} and ${count(data.damagedLines.length, 'line')}; listed under Runs.`);
    if (!data.metrics.length) notice('No run has been evaluated yet.');
    else if (!data.metrics.some((metric) => data.panels.some((panel) => metric.name === panel.metric))) notice('No scores: no policy was evaluated in an environment. The curves show metrics measured without one.');
    const returns = data.panels.filter((panel) => panel.metric === 'return').map((panel) => panel.title);
    if (returns.length) notice(`Returns, not scores, since the task has no reference returns: ${returns.join(', ')}.`);
    if (data.leftOut.length) notice(`Not in this file, to keep it small: ${data.leftOut.join(', ')}. seqeval export writes them.`);
  }

  function boards(data) {
    const tabs = make('div', { role: 'tablist', 'aria-label': 'Leaderboards' });
    const bodies = data.leaderboards.map((board, place) => {
      const body = make('div', { id: `board-${place}`, role: 'tabpanel', 'aria-labelledby': `tab-${place}`, hidden: place > 0 });
      if (board.reason) {
        body.append(make('p', {}, `Cannot be computed: ${board.reason}`));
        return body;
      }
      const columns = [
        { name: 'dataset' }, { name: 'algorithm' }, { name: 'seeds', number: true, descending: true }, { name: board.meanOf, number: true, descending: true },
        ...board.quantities.map((name, at) => ({ name, number: true, descending: !board.lower[at] })),
      ];
      const rows = board.rows.map((row) => [
        { text: row.dataset, key: row.dataset, className: 'long' }, { text: row.algorithm, key: row.algorithm, className: 'long' },
        { text: row.count, key: row.runs }, { text: row.datasetMeanText, key: row.datasetMean },
        ...row.cells.map((cell) => ({ text: cell.text, key: cell.value, small: [cell.interval, cell.runs].filter(Boolean).join(' ') })),
      ]);
      const raw = () => [
        ['dataset', 'algorithm', 'runs', 'dataset_mean', ...board.quantities.flatMap((name) => [name, `${name} interval`])],
        ...board.rows.map((row) => [row.dataset, row.algorithm, row.runs, row.datasetMean, ...row.cells.flatMap((cell) => [cell.value, cell.interval])]),
      ];
      body.append(
        sortable(`Leaderboard, ${board.name}`, columns, rows),
        make('p', { className: 'note' }, `${board.caption} Small: the interval, and the number of runs with a value if not all have one. Click a header to sort by its column.`),
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

  function runList(data) {
    const columns = ['status', 'dataset', 'algorithm', 'seed', 'evaluations', 'last transitions', 'wall time', 'failure or remark', 'suite', 'uses future data', 'device', 'git revision', 'differs in', 'directory']
      .map((name) => ({ name, number: ['seed', 'evaluations', 'last transitions', 'wall time'].includes(name) }));
    const rank = { failed: '0', unfinished: '1', finished: '2' };
    const plain = (text, className = '') => ({ text: String(text), key: String(text), className });
    const rows = data.runs.map((run) => {
      const last = run.p.length ? run.p[run.p.length - 1] : null;
      const remarks = [run.status === 'failed' ? run.failure || 'failed; the reason is not recorded' : run.status === 'unfinished' ? `running or stopped, ${count(run.expected - run.evaluations, 'evaluation')} left` : '',
        run.damaged ? `${count(run.damaged, 'damaged line')} left out` : ''].filter(Boolean).join('; ');
      return [
        { text: run.status, key: rank[run.status], className: run.status === 'failed' ? 'failed' : '' },
        plain(run.panel, 'long'), plain(run.algorithm, 'long'), { text: String(run.seed), key: run.seed },
        { text: `${run.evaluations} of ${run.expected}`, key: run.evaluations }, { text: number(last, data.digits), key: last },
        { text: duration(run.seconds), key: run.seconds }, plain(remarks, 'long'), plain(run.suite), plain(run.usesFutureData ? 'yes' : 'no'),
        plain(run.device), plain(run.revision), plain(run.differs, 'long'), plain(run.run, 'long'),
      ];
    });
    rows.sort((a, b) => a[0].key.localeCompare(b[0].key));
    id('run-list').append(sortable('Runs', columns, rows));
    const damaged = [...data.damagedRuns, ...data.damagedLines];
    if (damaged.length) id('damage').append(make('h3', {}, 'Damaged, left out'), make('ul', {}, ...damaged.map((text) => make('li', {}, text))));
  }

  function madeWith(data) {
    const values = (of, total) => of.map(([text, number]) => (of.length === 1 && number === total ? text : `${text} (${count(number, 'run')})`)).join('; ');
    const total = data.runs.length;
    const table = (caption, rows) => sortable(caption, [{ name: 'setting' }, { name: 'value' }], rows.map(([name, text]) => [
      { text: name, key: name }, { text, key: text, className: 'long' }]));
    id('conditions').append(
      make('p', { className: 'note' }, 'From the manifests of the runs. Where runs differ, each value is followed by its number of runs.'),
      table('All runs', data.conditions.map((each) => [each.name, values(each.values, total)])),
      ...data.settings.flatMap(({ algorithm, settings }) => [
        make('h3', {}, algorithm),
        table(`Settings of ${algorithm}`, settings.map((each) => [each.name, values(each.values, each.values.reduce((sum, [, number]) => sum + number, 0))])),
      ]),
    );
  }

  return { count, number, header, boards, runList, madeWith };
})();
