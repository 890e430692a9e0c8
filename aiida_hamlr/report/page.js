'use strict';
// Draws each figure into its place, as wide as the page; legends go below on narrow screens.
(function () {
  const places = document.querySelectorAll('.plot');
  const draw = (place) => {
    const content = JSON.parse(document.getElementById(place.id.replace('plot', 'data')).textContent);
    const narrow = window.innerWidth < 600;
    content.layout.font = {family: 'system-ui, sans-serif', size: narrow ? 11 : 13};
    if (content.layout.scene) {
      // The whole cell fits into a narrow picture: plotly scales to the height, and without perspective by the ratio.
      const ratio = content.layout.scene.aspectratio;
      const fit = Math.min(1, place.clientWidth / place.clientHeight);
      for (const axis in ratio) { ratio[axis] *= fit; }
    } else if (narrow && content.layout.margin) { content.layout.margin.l = 52; content.layout.margin.r = 8; }
    Plotly.newPlot(place, content.data, content.layout,
      {responsive: true, displaylogo: false, displayModeBar: !narrow, modeBarButtonsToRemove: ['lasso2d', 'select2d']});
  };
  // A figure is drawn when it comes into view: a page of many stays quick.
  if (!('IntersectionObserver' in window)) { places.forEach(draw); return; }
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { observer.unobserve(entry.target); draw(entry.target); }
    }
  }, {rootMargin: '400px'});
  places.forEach((place) => observer.observe(place));
}());
