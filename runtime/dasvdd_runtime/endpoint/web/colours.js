import { rampOf } from "./heat.js";

// The page's colours, read anew when the system turns dark or light.
export function readColours() {
  const style = getComputedStyle(document.documentElement);
  const named = (name) => style.getPropertyValue(`--${name}`).trim();
  const stops = (name) => named(name).split(",").map((colour) => colour.trim().split(" ").map(Number));
  return {
    line: named("line"), text: named("soft"), grid: named("edge"), bad: named("bad"), alarm: named("alarm-shade"),
    blank: named("blank"), card: named("card"), odd: rampOf(stops("odd")), sound: rampOf(stops("sound")),
  };
}
