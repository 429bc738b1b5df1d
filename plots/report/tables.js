'use strict';
// Sortable tables, and downloads of files that are made in the page.

const Tables = (() => {
  // An element with text and children; text from results is added here only, and never as HTML.
  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes('-') || name === 'role' || name === 'for') element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children);
    return element;
  }

  // columns: [{name, number, descending}]; rows: each a list of {text, small, key, className}, sorted by key, missing keys last.
  function sortable(caption, columns, rows) {
    const body = make('tbody');
    const heads = columns.map((column) => make('th', { scope: 'col', 'aria-sort': 'none' }));
    const fill = (order) => body.replaceChildren(...order.map((row) => make('tr', {}, ...row.map((cell, place) => {
      const classes = [columns[place].number ? 'number' : '', cell.className || ''].join(' ').trim();
      return make('td', { className: classes }, cell.text, ...(cell.small ? [make('small', {}, cell.small)] : []));
    }))));
    const compare = (place, sign) => (a, b) => {
      const [x, y] = [a[place].key, b[place].key];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === 'number' ? x - y : x.localeCompare(y, 'en', { numeric: true }));
    };
    columns.forEach((column, place) => {
      const button = make('button', { type: 'button' }, column.name);
      button.onclick = () => {
        const was = heads[place].getAttribute('aria-sort');
        const first = column.descending ? 'descending' : 'ascending';
        const next = was === 'none' ? first : was === 'ascending' ? 'descending' : 'ascending';
        heads.forEach((head) => { head.setAttribute('aria-sort', 'none'); head.firstChild.textContent = head.firstChild.dataset.name; });
        heads[place].setAttribute('aria-sort', next);
        button.textContent = `${column.name} ${next === 'ascending' ? '▲' : '▼'}`;
        fill([...rows].sort(compare(place, next === 'ascending' ? 1 : -1)));
      };
      button.dataset.name = column.name;
      heads[place].append(button);
    });
    fill(rows);
    const table = make('table', {}, make('thead', {}, make('tr', {}, ...heads)), body);
    table.setAttribute('aria-label', caption);
    return make('div', { className: 'scroll', tabIndex: 0, role: 'group', 'aria-label': caption }, table);
  }

  const quoted = (value) => {
    const shown = value === null || value === undefined ? '' : String(value);
    // Spreadsheets take a text that begins so for a formula.
    const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(shown) && Number.isNaN(Number(shown)) ? `'${shown}` : shown;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csv = (rows) => new Blob([rows.map((row) => row.map(quoted).join(',')).join('\n'), '\n'], { type: 'text/csv' });

  function save(blob, name) {
    const url = URL.createObjectURL(blob);
    make('a', { href: url, download: name.replace(/[^\p{L}\p{N}.+-]+/gu, '-').slice(0, 120) }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  return { make, sortable, csv, save };
})();
