'use strict';
// A chart: the lines of one panel on a canvas (uPlot), with hover, keyboard, zoom and export as PNG.

const Charts = (() => {
  const HEIGHT = 300; // px
  const REACH = 40; // px from the pointer within which a point is shown
  const FADED = 0.55; // opacity

  const theme = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return { ink: of('--ink'), soft: of('--soft'), line: of('--line'), paper: of('--paper'), card: of('--card') };
  };

  const tick = (value) => {
    for (const [unit, suffix] of [[1e6, 'M'], [1e3, 'k']]) {
      if (Math.abs(value) >= unit) return `${+(value / unit).toPrecision(6)}${suffix}`;
    }
    return String(+value.toPrecision(6));
  };

  const faded = (color, opacity) => color + Math.round(opacity * 255).toString(16).padStart(2, '0');

  // A line is {label, color, dash, complete, failed, points: [{x, y, low, high, text}]}; spec is {title, xLabel, yLabel, lines,
  // stretches: [[name, start, stop]], means: [[start, stop, value]], end}, all x on the selected axis.
  function draw(element, spec) {
    const colors = theme();
    const lines = spec.lines;
    const tables = [];
    const series = [{}];
    const bands = [];
    for (const line of lines) {
      // Wall time, as a mean over runs, may repeat or decrease: a line needs increasing x.
      const points = line.points.filter((point) => point.x !== null && point.y !== null).sort((a, b) => a.x - b.x);
      line.drawn = points;
      const once = points.filter((point, place) => place === 0 || point.x !== points[place - 1].x);
      const strength = line.complete ? 1 : FADED;
      const spread = once.some((point) => point.low !== null && point.low !== undefined);
      tables.push([once.map((p) => p.x), once.map((p) => p.y), ...(spread ? [once.map((p) => p.high), once.map((p) => p.low)] : [])]);
      series.push({
        stroke: faded(line.color, strength), dash: line.dash, width: 2, points: { show: once.length < 2, size: 6 }, scale: 'y',
      });
      if (spread) {
        const place = series.length;
        const edge = { stroke: 'transparent', width: 0, points: { show: false }, scale: 'y' };
        series.push(edge, { ...edge });
        bands.push({ series: [place, place + 1], fill: faded(line.color, 0.16 * strength) });
      }
    }
    const data = tables.length ? uPlot.join(tables) : [[]];
    const axis = {
      stroke: colors.ink, grid: { stroke: faded(hex(colors.line), 0.6), width: 1 }, ticks: { stroke: colors.line, width: 1 },
      font: '12px system-ui, sans-serif', labelFont: '12px system-ui, sans-serif', labelSize: 18, labelGap: 0,
    };
    const plot = new uPlot({
      width: Math.max(200, element.clientWidth), height: HEIGHT, series, bands,
      padding: [spec.stretches.length > 1 ? 22 : 10, 14, 0, 0],
      legend: { show: false },
      cursor: { points: { show: false }, drag: { x: true, y: true, uni: 20, setScale: true }, y: true, x: true },
      scales: {
        x: { time: false, range: (u, low, high) => (low === null ? [0, spec.end || 1] : u.zoomed ? [low, high] : [0, spec.end || high || 1]) },
        y: { range: (u, low, high) => yRange(u, low, high, spec) },
      },
      axes: [
        { ...axis, label: spec.xLabel, size: 34, values: (u, values) => values.map(tick), space: 60 },
        { ...axis, label: spec.yLabel, size: 52, values: (u, values) => values.map(tick) },
      ],
      // Once a zoom rectangle is drawn, the scales are no longer computed from the data.
      hooks: { setSelect: [(u) => { u.zoomed = { y: true }; }], drawAxes: [(u) => background(u, spec, colors)], draw: [(u) => ends(u, lines)] },
    }, data, element);
    return plot;
  }

  const hex = (color) => (/^#[0-9a-f]{6}$/i.test(color) ? color : '#888888');

  function yRange(u, low, high, spec) {
    if (u.zoomed && u.zoomed.y) return [low, high];
    if (low === null || !Number.isFinite(low)) return [0, 1];
    for (const [, , value] of spec.means) { low = Math.min(low, value); high = Math.max(high, value); }
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low - room, high + room];
  }

  // Block boundaries and the switch to online, with names, and the dataset's mean score.
  function background(u, spec, colors) {
    const { ctx } = u;
    const ratio = devicePixelRatio;
    const { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = 'center';
    ctx.textBaseline = 'bottom';
    if (spec.stretches.length > 1) {
      for (const [name, start, stop] of spec.stretches) {
        const from = Math.max(left, u.valToPos(start, 'x', true));
        const to = Math.min(left + width, u.valToPos(stop, 'x', true));
        if (to <= from) continue;
        ctx.fillStyle = colors.soft;
        // A name that does not fit is only in the note below the chart.
        if (ctx.measureText(name).width < to - from) ctx.fillText(name, (from + to) / 2, top - 4 * ratio);
        if (start > 0 && from > left) {
          ctx.fillStyle = colors.soft;
          ctx.fillRect(Math.round(from), top, ratio, height);
        }
      }
    }
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    ctx.strokeStyle = colors.soft;
    ctx.lineWidth = 1.2 * ratio;
    ctx.setLineDash([6 * ratio, 4 * ratio]);
    for (const [start, stop, value] of spec.means) {
      const y = u.valToPos(value, 'y', true);
      ctx.beginPath();
      ctx.moveTo(u.valToPos(start, 'x', true), y);
      ctx.lineTo(u.valToPos(stop, 'x', true), y);
      ctx.stroke();
    }
    ctx.restore();
  }

  // A cross where a failed run ended.
  function ends(u, lines) {
    const { ctx } = u;
    const size = 4 * devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    ctx.lineWidth = 2 * devicePixelRatio;
    for (const line of lines) {
      for (const point of line.failed) {
        if (point.x === null || point.y === null) continue;
        const x = u.valToPos(point.x, 'x', true);
        const y = u.valToPos(point.y, 'y', true);
        ctx.strokeStyle = line.color;
        ctx.beginPath();
        ctx.moveTo(x - size, y - size); ctx.lineTo(x + size, y + size);
        ctx.moveTo(x - size, y + size); ctx.lineTo(x + size, y - size);
        ctx.stroke();
      }
    }
    ctx.restore();
  }

  // Pointer and keyboard on a chart. Returns the function that resets the zoom.
  function interact(element, plot, spec, say) {
    const dot = Object.assign(document.createElement('div'), { className: 'dot', hidden: true });
    const tip = Object.assign(document.createElement('div'), { className: 'tip', hidden: true });
    plot.over.append(dot, tip);
    const lines = spec.lines.filter((line) => line.drawn.length);
    let at = null; // [line, point]

    const show = (selected) => {
      at = selected;
      dot.hidden = tip.hidden = selected === null;
      if (selected === null) return;
      const point = lines[selected[0]].drawn[selected[1]];
      const x = plot.valToPos(point.x, 'x');
      const y = plot.valToPos(point.y, 'y');
      const { clientWidth: width, clientHeight: height } = plot.over;
      dot.hidden = x < 0 || y < 0 || x > width || y > height;
      dot.style.left = `${x}px`;
      dot.style.top = `${y}px`;
      tip.textContent = point.text;
      say.textContent = point.text;
      tip.style.maxWidth = `${Math.min(272, width)}px`;
      const [across, down] = [tip.offsetWidth, tip.offsetHeight];
      tip.style.left = `${Math.max(0, Math.min(width - across, x + 12 + across > width ? x - across - 12 : x + 12))}px`;
      tip.style.top = `${Math.max(0, Math.min(height - down, y - down - 8))}px`;
    };

    const nearest = (x, y) => {
      let best = null;
      let least = REACH * REACH;
      lines.forEach((line, i) => line.drawn.forEach((point, j) => {
        const distance = (plot.valToPos(point.x, 'x') - x) ** 2 + (plot.valToPos(point.y, 'y') - y) ** 2;
        if (distance < least) [least, best] = [distance, [i, j]];
      }));
      return best;
    };

    const reset = () => { plot.zoomed = null; plot.setData(plot.data); show(null); };
    const zoom = (factor) => {
      const middle = at ? lines[at[0]].drawn[at[1]].x : (plot.scales.x.min + plot.scales.x.max) / 2;
      const half = (plot.scales.x.max - plot.scales.x.min) * factor / 2;
      plot.zoomed = { y: false };
      plot.setScale('x', { min: middle - half, max: middle + half });
      show(at);
    };

    const point = (event) => {
      const box = plot.over.getBoundingClientRect();
      show(nearest(event.clientX - box.left, event.clientY - box.top));
    };
    plot.over.addEventListener('pointermove', point);
    plot.over.addEventListener('pointerdown', point);
    plot.over.addEventListener('pointerleave', () => show(null));
    // The point that was shown has moved.
    plot.hooks.setSelect.push(() => show(null));
    // Replaces uPlot's own handler, which does not reset `zoomed`.
    plot.over.addEventListener('dblclick', (event) => { event.stopImmediatePropagation(); reset(); }, true);
    element.onkeydown = (event) => {
      const along = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const between = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === 'Escape') reset();
      else if (event.key === '+' || event.key === '=') zoom(0.5);
      else if (event.key === '-') zoom(2);
      else if (!lines.length || (along === undefined && between === undefined)) return;
      else if (at === null) show([0, 0]);
      else if (along) show([at[0], Math.max(0, Math.min(lines[at[0]].drawn.length - 1, at[1] + along))]);
      else {
        const line = (at[0] + between + lines.length) % lines.length;
        const x = lines[at[0]].drawn[at[1]].x;
        const gaps = lines[line].drawn.map((point) => Math.abs(point.x - x));
        show([line, gaps.indexOf(Math.min(...gaps))]);
      }
      event.preventDefault();
    };
    return { reset };
  }

  // The chart with title and legend as a PNG.
  function image(plot, spec, save) {
    const colors = theme();
    const ratio = devicePixelRatio;
    const source = plot.ctx.canvas;
    const shown = [...new Map(spec.lines.map((line) => [line.label, line])).values()];
    const row = 18 * ratio;
    const canvas = document.createElement('canvas');
    canvas.width = source.width;
    canvas.height = source.height + row * (shown.length + 2);
    const ctx = canvas.getContext('2d');
    ctx.fillStyle = colors.paper;
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    ctx.fillStyle = colors.ink;
    ctx.textBaseline = 'middle';
    ctx.font = `600 ${13 * ratio}px system-ui, sans-serif`;
    ctx.fillText(spec.title, 8 * ratio, row * 0.7, canvas.width - 16 * ratio);
    ctx.drawImage(source, 0, row * 1.3);
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    shown.forEach((line, place) => {
      const y = row * (2 + place) + source.height;
      ctx.strokeStyle = line.color;
      ctx.lineWidth = 2 * ratio;
      ctx.setLineDash(line.dash.map((length) => length * ratio));
      ctx.beginPath();
      ctx.moveTo(8 * ratio, y);
      ctx.lineTo(44 * ratio, y);
      ctx.stroke();
      ctx.fillText(line.label, 52 * ratio, y, canvas.width - 60 * ratio);
    });
    canvas.toBlob((blob) => save(blob), 'image/png');
  }

  return { draw, interact, image };
})();
