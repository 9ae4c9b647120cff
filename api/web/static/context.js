// The context of a run: a link to a part opens it.
function show() {
  const part = document.getElementById(location.hash.slice(1));
  if (part?.matches("details")) part.open = true;
}

addEventListener("hashchange", show);
show();
