'use strict';
// Draws each figure into its place, as wide as the page; legends go below on narrow screens.
(function () {
  const places = document.querySelectorAll('.plot');
  const draw = (place) => {
    const content = JSON.parse(document.getElementById(place.id.replace('plot', 'data')).textContent);
    const narrow = window.innerWidth < 600;
    content.layout.font = {family: 'system-ui, sans-serif', size: narrow ? 11 : 13};
    if (narrow && content.layout.margin) { content.layout.margin.l = 52; content.layout.margin.r = 8; }
    if (narrow && content.layout.scene) {
      // The whole cell fits into the narrow picture.
      const eye = content.layout.scene.camera.eye;
      for (const axis in eye) { eye[axis] *= 1.7; }
    }
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
