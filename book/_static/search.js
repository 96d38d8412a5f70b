// What stands under a result of a search: words of the page, no code, outputs, menus or formulas.
const whole = Search.htmlToText;
Search.htmlToText = (html, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  page.querySelectorAll(".cell_input, .cell_output, .highlight, .math, nav, dialog, details.cite, #jb-print-docs-body, .bd-header-article, .bd-sidebar-secondary, .bd-footer-content, .prev-next-footer")
    .forEach(part => part.remove());
  return whole(page.documentElement.outerHTML, anchor);
};
