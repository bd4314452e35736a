/** Icons drawn on a 24 × 24 grid, stroked in the current colour. */
const draw = (body: string): string =>
  `<svg viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${body}</svg>`;

export const ICONS = {
  window: draw('<circle cx="12" cy="12" r="8"/><path d="M12 4a8 8 0 0 1 0 16z" fill="currentColor"/>'),
  zoom: draw('<circle cx="11" cy="11" r="6.5"/><path d="M16 16l5 5M11 8.500v5M8.500 11h5"/>'),
  pan: draw('<path d="M12 3v18M3 12h18M12 3l-2.500 2.500M12 3l2.500 2.500M12 21l-2.500-2.500M12 21l2.500-2.500M3 12l2.500-2.500M3 12l2.500 2.500M21 12l-2.500-2.500M21 12l-2.500 2.500"/>'),
  scroll: draw('<rect x="4" y="8" width="12" height="12" rx="1.500"/><path d="M7 8V6h13v12h-4M9 12l1.500-1.500L12 12M9 16l1.500 1.500L12 16"/>'),
  magnify: draw('<rect x="3" y="3" width="12" height="12" rx="6"/><path d="M14 14l7 7M7 9a2 2 0 0 1 2-2"/>'),
  length: draw('<path d="M3 17L17 3l4 4L7 21zM7 13l2 2M10 10l2 2M13 7l2 2"/>'),
  angle: draw('<path d="M4 20L16 5M4 20h17M12 20a8 8 0 0 0-3-6.200"/>'),
  cobb: draw('<path d="M3 6l12-3M3 18l12 3M9 4.500v15" /><path d="M18 8a6 6 0 0 1 0 8"/>'),
  bidirectional: draw('<path d="M4 20L20 4M8 8l8 8M4 16v4h4M16 4h4v4"/>'),
  rectangle: draw('<rect x="3" y="6" width="18" height="12"/><circle cx="12" cy="12" r=".8" fill="currentColor"/>'),
  freehand: draw('<path d="M5 15c-3-4 1-10 6-9s4 3 7 3 4 5 1 8-5 0-8 2-4 0-6-4z"/>'),
  more: draw('<circle cx="6" cy="12" r="1.300" fill="currentColor"/><circle cx="12" cy="12" r="1.300" fill="currentColor"/><circle cx="18" cy="12" r="1.300" fill="currentColor"/>'),
  undo: draw('<path d="M4 9h10a5.500 5.500 0 0 1 0 11H8M4 9l4.500-4.500M4 9l4.500 4.500"/>'),
  redo: draw('<path d="M20 9H10a5.500 5.500 0 0 0 0 11h6M20 9l-4.500-4.500M20 9l-4.500 4.500"/>'),
  ellipse: draw('<ellipse cx="12" cy="12" rx="9" ry="6"/><circle cx="12" cy="12" r=".8" fill="currentColor"/>'),
  probe: draw('<circle cx="12" cy="12" r="3.500"/><path d="M12 3v4M12 17v4M3 12h4M17 12h4"/>'),
  invert: draw('<rect x="4" y="4" width="16" height="16" rx="2"/><path d="M4 20L20 4v14a2 2 0 0 1-2 2z" fill="currentColor"/>'),
  rotate: draw('<path d="M19 12a7 7 0 1 1-2.200-5.100M20 3v5h-5"/>'),
  flip: draw('<path d="M12 3v18M9 7L3 18h6zM15 7l6 11h-6z"/>'),
  flip_vertical: draw('<path d="M3 12h18M7 9l11-6v6zM7 15l11 6v-6z"/>'),
  mpr: draw('<path d="M12 3l8 4.500v9L12 21l-8-4.500v-9zM4 7.500l8 4.500 8-4.500M12 12v9"/>'),
  one_to_one: draw('<path d="M5 8l2.500-2V18M15 8l2.500-2V18M12 10v.010M12 14.500v.010"/>'),
  reset: draw('<path d="M4 12a8 8 0 1 0 2.500-5.800M4 3v5h5"/>'),
  cine: draw('<rect x="3" y="5" width="18" height="14" rx="2"/><path d="M10 9l5 3-5 3z" fill="currentColor"/>'),
  layout: draw('<rect x="3" y="4" width="18" height="16" rx="1.500"/><path d="M12 4v16M3 12h18"/>'),
  hangings: draw('<rect x="3" y="4" width="18" height="13" rx="1.500"/><path d="M9 4v13M9 10.500h12M8 21h8M12 17v4"/>'),
  prior: draw('<rect x="3" y="5" width="8" height="14" rx="1"/><rect x="13" y="5" width="8" height="14" rx="1" stroke-dasharray="2.500 2"/>'),
  link: draw('<path d="M10 14a4 4 0 0 0 5.700 0l3-3A4 4 0 0 0 13 5.300l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3A4 4 0 0 0 11 18.700l1-1"/>'),
  key: draw('<path d="M12 3.500l2.600 5.400 5.900.8-4.300 4.100 1 5.900-5.200-2.800-5.200 2.800 1-5.900L3.500 9.700l5.900-.8z"/>'),
  full: draw('<path d="M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5"/>'),
  help: draw('<circle cx="12" cy="12" r="9"/><path d="M9.500 9.500a2.500 2.500 0 1 1 3.600 2.200c-.8.400-1.100 1-1.100 1.800M12 17v.010"/>'),
  bin: draw('<path d="M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5"/>'),
} as const;

export type IconName = keyof typeof ICONS;
