import "./tokens.css";
import "./components.css";
import "./runs.css";
import "./run.css";
import "./render.css";
import "./editor.css";
import "./lab.css";
